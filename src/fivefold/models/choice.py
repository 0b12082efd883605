"""Which predictor a version is given: ONNX where that is close enough and not slow, else its own format."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.models import formats
from fivefold.models.fitted import Fitted
from fivefold.models.predictor import Predictor, alone, transparent

SLOWER = 1.5
"""A conversion is left when a row takes this many times the native predictor's time.

Conversions were measured at 0.03 to 0.7 of it. The limit lies far from there, so that a busy machine does not make
equal inputs choose differently, which would give them different packages.
"""
FEW = 64
"""Rows on which a predictor is asked row by row."""
PROBES = 5
"""Rows in which each column that may be null is."""
TIMED = 20
"""Rows that are timed."""


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


def choose(
    fitted: Fitted, folder: Path, task: str, sample: np.ndarray, tolerance: float
) -> tuple[Predictor, dict[str, Candidate], list[str]]:
    """Write a model in its own format, and as ONNX where that is the better predictor; returns what was chosen.

    ONNX is chosen when its predictions on `sample` `(n, features)` are within `tolerance` of the training library and
    it is not slower. Also returns all candidates and what spoke against the others. Raises Invalid when none is within
    tolerance, or when what the learner made does not predict what its task asks for.
    """
    sample = _with_nulls(sample, fitted.nulls)
    truth = fitted.predict(sample)
    _require_shape(truth, sample, task)
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
            notes.append(f"onnx: not convertible ({type(e).__name__}: {formats.first_line(e)})")
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
    if "onnx" in close and close["onnx"].microseconds <= SLOWER * found[fitted.format].microseconds:
        name = "onnx"
    # a conversion that is not used would be one more thing that could be wrong
    if name != "onnx":
        shutil.rmtree(folder / "onnx", ignore_errors=True)
    return close[name].predictor, found, notes


def _with_nulls(sample: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """The sample, and rows in which each of `columns` is null: conversions are often wrong there, samples lack them."""
    made = []
    for column in columns if len(sample) else ():
        rows = sample[:: max(1, len(sample) // PROBES)][:PROBES].copy()
        rows[:, column] = np.nan
        made.append(rows)
    return np.concatenate([sample, *made])


def _require_shape(p: np.ndarray, sample: np.ndarray, task: str) -> None:
    many = task == "multiclass"
    if p.ndim != (2 if many else 1) or len(p) != len(sample):
        wanted = "(n, k) probabilities" if many else "(n,) numbers"
        raise Invalid(f"the model predicts the shape {p.shape} for {len(sample)} rows: a {task} model gives {wanted}.")
    if not np.isfinite(p).all():
        where = int(np.flatnonzero(~np.isfinite(p.reshape(len(p), -1)).all(axis=1))[0])
        raise Invalid(
            f"the model predicts {p[where]} for row {where} of its test.", hint="Look for huge or infinite values."
        )
    if task in ("binary", "multiclass") and len(p) and not (p.min() >= 0 and p.max() <= 1):
        raise Invalid(
            f"the model predicts values from {p.min():.4g} to {p.max():.4g}: a {task} model gives probabilities.",
            hint="Leave the learner's objective as it is, or give probabilities in predict().",
        )


def _measured(name: str, folder: Path, task: str, sample: np.ndarray, truth: np.ndarray) -> Candidate:
    call = formats.load(name, folder / name, task)
    few = sample[:FEW]
    classes = truth.shape[1] if truth.ndim == 2 else None
    predictor = Predictor(name, len(few) > 0 and not transparent(call, few), call, classes)
    if not len(sample):
        return Candidate(predictor, 0.0, 0.0)
    # row by row on a few rows is enough: what a batch changes is the last bits
    gaps = [np.abs(call(sample) - truth), np.abs(alone(call, few) - truth[:FEW])]
    deviation = max(float(np.max(gap)) for gap in gaps)
    if np.isnan(deviation):
        deviation = float("inf")
    times = []
    for i in range(min(len(sample), TIMED)):
        row, again = sample[i : i + 1].copy(), []
        for _ in range(5):
            start = time.perf_counter_ns()
            call(row)
            again.append(time.perf_counter_ns() - start)
        times.append(min(again))
    return Candidate(predictor, deviation, statistics.median(times) / 1000)
