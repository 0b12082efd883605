"""How much each feature matters: how much worse predictions get when its values are shuffled.

Permutation importance, Breiman, "Random Forests" (2001), section 10: it is the same for every kind of model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fivefold.core.learning import METRICS
from fivefold.models.metrics import DEFAULT_METRICS, prepare
from fivefold.models.tasks import Task

MOST_ROWS = 5_000


def importance(
    predict: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    task: Task,
    names: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Shares that sum to one (all zero when nothing matters), the largest first, on at most `MOST_ROWS` rows."""
    metric = "logloss" if task.name in ("binary", "multiclass") else DEFAULT_METRICS[task.name][0]
    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(len(x))[:MOST_ROWS])
    x, y, groups = x[rows], y[rows], None if groups is None else groups[rows]
    ones = np.ones(len(y))

    def loss(matrix: np.ndarray) -> float:
        return -METRICS[metric] * prepare(task, metric, y, predict(matrix), groups)(ones)

    base = loss(x)
    harm = {}
    for i, name in enumerate(names):
        shuffled = x.copy()
        shuffled[:, i] = x[random.permutation(len(x)), i]
        harm[name] = max(0.0, loss(shuffled) - base)
    total = sum(harm.values())
    return {n: h / total if total else 0.0 for n, h in sorted(harm.items(), key=lambda item: -item[1])}
