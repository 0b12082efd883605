"""How good predictions are, with intervals.

A metric is prepared once for rows (sorting what must be sorted) and then evaluated under any weights of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.learning import METRICS
from fivefold.models.bootstrap import DRAWS, Interval, draws, interval
from fivefold.models.measures import MULTICLASS, PLAIN, Weighted, mrr, ndcg
from fivefold.models.tasks import Task

DEFAULT_METRICS = {
    "binary": ("auc", "average_precision", "logloss", "brier"),
    "multiclass": ("accuracy", "logloss"),
    "regression": ("rmse", "mae", "r2"),
    "ranking": ("ndcg@10", "mrr"),
}
OF_TASK = {
    "binary": ("auc", "average_precision", "accuracy", "precision", "recall", "f1", "logloss", "brier", "ece"),
    "multiclass": ("accuracy", "logloss", "brier", "f1"),
    "regression": ("rmse", "mae", "r2"),
    "ranking": ("ndcg@10", "mrr", "rmse", "mae"),
}


def score(
    task: Task,
    y: np.ndarray,
    p: np.ndarray,
    names: Sequence[str],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    count: int = DRAWS,
) -> dict[str, Interval]:
    """Each metric with its interval. `groups` are resampled whole.

    Raises Invalid for a metric that the task does not have, or that is undefined on these rows.
    """
    prepared = {name: prepare(task, name, y, p, groups) for name in names}
    ones = np.ones(len(y))
    values = {name: at(ones) for name, at in prepared.items()}
    for name, value in values.items():
        if np.isnan(value):
            raise Invalid(f"{name} is undefined on these {len(y)} rows.", hint=_why_undefined(name))
    resampled: dict[str, list[float]] = {name: [] for name in names}
    for weights in draws(len(y), groups, seed, count):
        for name, at in prepared.items():
            resampled[name].append(at(weights))
    return {name: interval(values[name], resampled[name]) for name in names}


def improvement(
    task: Task,
    name: str,
    y: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    count: int = DRAWS,
) -> Interval:
    """How much better `new` is than `old` on the same rows, positive when better, with its paired interval."""
    sign = METRICS[name]
    before, after = prepare(task, name, y, old, groups), prepare(task, name, y, new, groups)
    ones = np.ones(len(y))
    resampled = [sign * (after(w) - before(w)) for w in draws(len(y), groups, seed, count)]
    return interval(sign * (after(ones) - before(ones)), resampled)


def prepare(task: Task, name: str, y: np.ndarray, p: np.ndarray, groups: np.ndarray | None = None) -> Weighted:
    """A metric of these rows as a function of weights.

    Raises Invalid when the task does not have it, or for predictions that are no numbers.
    """
    if name not in OF_TASK[task.name]:
        raise Invalid(f"{name} does not measure a {task.name} model (accepted: {', '.join(OF_TASK[task.name])}).")
    if not len(y):
        return lambda w: float("nan")
    if not np.isfinite(p).all():
        bad = int((~np.isfinite(p)).reshape(len(p), -1).any(axis=1).sum())
        raise Invalid(f"{bad} of {len(p)} predictions are infinite or no number: {name} cannot be measured.")
    if name in ("ndcg@10", "mrr"):
        if groups is None:
            raise Invalid(f"{name} compares rows within a group.", hint="Give the target a group=.")
        return ndcg(y, p, groups) if name == "ndcg@10" else mrr(y, p, groups)
    if task.name == "multiclass":
        return MULTICLASS[name](y, p)
    return PLAIN[name](y, p)


def _why_undefined(name: str) -> str:
    if name in ("auc", "average_precision", "recall"):
        return "All rows have the same label: choose a test with both."
    return "Choose a test with more, and more varied, rows."
