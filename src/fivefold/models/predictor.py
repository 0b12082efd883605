"""One declared predictor a version: the fastest that is close enough to the training library, used on every path."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.models import formats
from fivefold.models.fitted import Fitted, Predict

BETTER_BY = 0.9
"""A conversion is chosen only when it needs at most this share of the native predictor's time."""


class Predictor(msgspec.Struct, frozen=True):
    """A model as it answers: `rowwise` ones are asked one row at a time, because their bits depend on the batch."""

    format: str
    rowwise: bool
    call: Predict

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predictions `(n,)` or `(n, k)` for `(n, features)`; a row's bits do not depend on the rows beside it.

        Raises Invalid when the model gives another number of rows.
        """
        if self.rowwise and len(x) > 1:
            found = np.concatenate([self.call(x[i : i + 1]) for i in range(len(x))])
        else:
            found = self.call(x)
        if len(found) != len(x):
            raise Invalid(f"the model gave {len(found)} predictions for {len(x)} rows.")
        return found


class Candidate(msgspec.Struct, frozen=True):
    """A format a model could answer by: how far it is from the training library, and how long one row takes."""

    predictor: Predictor
    deviation: float
    microseconds: float

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "deviation": self.deviation,
            "rowwise": self.predictor.rowwise,
            "microseconds": round(self.microseconds, 1),
        }


def transparent(call: Predict, x: np.ndarray) -> bool:
    """Whether rows alone, in sevens, reversed and all together give the same bits."""
    whole = call(x)
    if len(whole) != len(x):
        return True  # the row count is checked at every call, and says so
    alone = np.concatenate([call(x[i : i + 1]) for i in range(len(x))])
    sevens = np.concatenate([call(x[i : i + 7]) for i in range(0, len(x), 7)])
    return bool(
        np.array_equal(whole, alone, equal_nan=True)
        and np.array_equal(whole, sevens, equal_nan=True)
        and np.array_equal(whole, call(x[::-1].copy())[::-1], equal_nan=True)
    )


def choose(
    fitted: Fitted, folder: Path, task: str, sample: np.ndarray, tolerance: float
) -> tuple[Predictor, dict[str, Candidate], list[str]]:
    """Write a model in its own format, and as ONNX where that is the better predictor; returns what was chosen.

    Of the formats whose predictions on `sample` `(n, features)` are within `tolerance` of the training library, the
    faster for one row wins. Also returns all candidates and what spoke against the others. Raises Invalid when none is
    within tolerance.
    """
    truth = fitted.predict(sample)
    formats.save(fitted.format, fitted.model, folder / fitted.format, task)
    found = {fitted.format: _measured(fitted.format, folder, task, sample, truth)}
    notes = []
    if fitted.to_onnx is not None:
        try:
            formats.save("onnx", fitted.to_onnx(), folder / "onnx", task)
            found["onnx"] = _measured("onnx", folder, task, sample, truth)
        except FivefoldError as e:
            notes.append(f"onnx: {e.message}")
        except Exception as e:  # converters raise anything for an operator they do not know
            notes.append(f"onnx: not convertible ({type(e).__name__}: {str(e).splitlines()[0][:200]})")
    close = {name: c for name, c in found.items() if c.deviation <= tolerance}
    notes += [
        f"{n}: deviates by {c.deviation:.3g}, more than the tolerance of {tolerance:g}"
        for n, c in found.items()
        if n not in close
    ]
    if not close:
        raise Invalid(
            f"no predictor is within the tolerance: {'; '.join(notes)}.", hint="Raise tolerance= of the model."
        )
    name = fitted.format if fitted.format in close else "onnx"
    if "onnx" in close and name != "onnx" and close["onnx"].microseconds <= BETTER_BY * close[name].microseconds:
        name = "onnx"
    return close[name].predictor, found, notes


def _measured(name: str, folder: Path, task: str, sample: np.ndarray, truth: np.ndarray) -> Candidate:
    call = formats.load(name, folder / name, task)
    few = sample[:200]
    predictor = Predictor(name, not transparent(call, few), call)
    deviation = float(np.max(np.abs(predictor.predict(sample) - truth))) if len(sample) else 0.0
    rows = [sample[i : i + 1] for i in range(min(len(sample), 50))]
    times = []
    for _ in range(5):
        for row in rows:
            start = time.perf_counter_ns()
            call(row)
            times.append(time.perf_counter_ns() - start)
    return Candidate(predictor, deviation, statistics.median(times) / 1000 if times else 0.0)
