"""A model as it answers: one declared predictor a version, used on every path."""

from __future__ import annotations

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.models.fitted import Predict

SIZES = (1, 2, 3, 5, 7, 8, 16, 31)
LARGE = 4096


class Miscounted(Invalid):
    """The model gave predictions of another number or shape than it was asked for: none of them can be trusted."""


class Predictor(msgspec.Struct, frozen=True):
    """A model as it answers: `rowwise` ones are asked one row at a time, because their bits depend on the batch.

    `classes` is the number of probabilities a row gets, or None where it gets one number.
    """

    format: str
    rowwise: bool
    call: Predict
    classes: int | None = None

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions `(n,)` or `(n, k)` for `(n, features)`; a row's bits do not depend on the rows beside it.

        Raises Miscounted when the model gives another number of rows.
        """
        if not len(x):
            return np.empty(0 if self.classes is None else (0, self.classes))
        if self.rowwise and len(x) > 1:
            found = alone(self.call, x)
        else:
            found = self.call(x if x.flags.c_contiguous else np.ascontiguousarray(x))
        if found.shape != (len(x),) + (() if self.classes is None else (self.classes,)):
            raise Miscounted(
                f"the model gave predictions of the shape {found.shape} for {len(x)} rows"
                + (f" and {self.classes} classes." if self.classes else ".")
            )
        return found


def alone(call: Predict, x: np.ndarray) -> np.ndarray:
    """Predictions of rows asked one by one, each in memory of its own."""
    return np.concatenate([call(x[i : i + 1].copy()) for i in range(len(x))])


def transparent(call: Predict, x: np.ndarray) -> bool:
    """Whether rows alone, in pieces of many sizes, reversed, together and repeated by the thousand agree in bits."""
    single = alone(call, x)
    if len(single) != len(x):
        return True  # the row count is checked at every call, and says so
    pieces = [
        (single, np.concatenate([call(x[i : i + size].copy()) for i in range(0, len(x), size)])) for size in SIZES[1:]
    ]
    many = np.arange(LARGE) % max(len(x), 1)
    pieces += [(single, call(x)), (single[::-1], call(x[::-1].copy())), (single[many], call(x[many]))]
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pieces)
