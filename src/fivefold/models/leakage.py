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
        there = ~np.isnan(values)
        if there.sum() < 100 or task.name not in ("binary", "regression", "ranking"):
            continue
        if task.name == "binary":
            found = prepare(task, "auc", y[there], values[there])(np.ones(int(there.sum())))
            strength = max(found, 1 - found)
        else:
            spread = values[there].std() * y[there].std()
            moved = ((values[there] - values[there].mean()) * (y[there] - y[there].mean())).mean()
            strength = abs(moved / spread) if spread else 0.0
        if strength >= TOO_GOOD:
            out.append(
                f"the feature {name!r} alone gives the label away ({strength:.4f} of 1): is it known at the moment "
                "of prediction? If not, take it out."
            )
    return out
