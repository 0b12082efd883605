"""What is predicted: one of two, one of many, a number, or an order."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.types import Type


class Task(msgspec.Struct, frozen=True):
    """`binary`, `multiclass`, `regression` or `ranking`.

    Predictions are `(n,)` float64: the probability of true, a number, or a score to order by; `(n, k)` probabilities
    for `multiclass`.
    """

    name: str

    def encode(self, column: pa.ChunkedArray, train: np.ndarray) -> tuple[np.ndarray, list[str] | None]:
        """Labels as float64 `(n,)`, and the classes, sorted, whose position stands for them.

        Raises Invalid when the training rows hold a single class, or miss one that the test rows have.
        """
        if self.name == "multiclass":
            values = np.array(column.to_pylist(), dtype=object)
            classes = sorted(set(values[train].tolist()))
            unseen = sorted(set(values.tolist()) - set(classes))
            if unseen:
                raise Invalid(f"no training row has the label {unseen[0]!r}.", hint="Split otherwise, or leave it out.")
            place = {c: float(i) for i, c in enumerate(classes)}
            y = np.array([place[v] for v in values.tolist()])
        else:
            classes = None
            y = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
        if self.name in ("binary", "multiclass") and len(np.unique(y[train])) < 2:
            raise Invalid(
                f"all {int(train.sum())} training rows have the same label.", hint="Look at the label and the split."
            )
        return y, classes


def task_of(label: Type, *, grouped: bool) -> Task:
    """The task that a label's type asks for. Raises Invalid for a timestamp."""
    if label is Type.BOOL:
        return Task("binary")
    if label is Type.STRING:
        return Task("multiclass")
    if label is Type.TIMESTAMP:
        raise Invalid("a timestamp cannot be predicted.", hint="Predict a duration: epoch(a) - epoch(b).")
    return Task("ranking" if grouped else "regression")
