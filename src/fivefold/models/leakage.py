"""Features that give the answer away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fivefold.models.metrics import prepare
from fivefold.models.tasks import Task

TOO_GOOD = 0.999


def giveaways(task: Task, names: Sequence[str], x: np.ndarray, y: np.ndarray) -> list[str]:
    """A warning for each feature that alone predicts the label all but perfectly on rows `x` `(n, features)`."""
    out = []
    for i, name in enumerate(names):
        values = x[:, i]
        there = np.isfinite(values)
        if there.sum() < 100 or task.name not in ("binary", "regression", "ranking"):
            continue
        if task.name == "binary":
            found = prepare(task, "auc", y[there], values[there])(np.ones(int(there.sum())))
            strength = max(found, 1 - found)
        else:
            strength = abs(_correlation(values[there], y[there]))
        if strength >= TOO_GOOD:
            out.append(
                f"the feature {name!r} alone gives the label away ({strength:.4f} of 1): is it known at the moment "
                "of prediction? If not, take it out."
            )
    return out


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; 0 where one side is constant."""
    a, b = (v / (np.abs(v).max() or 1.0) for v in (a, b))
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else 0.0
