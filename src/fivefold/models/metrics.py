"""How good predictions are, with intervals.

A metric is prepared once for rows (sorting what must be sorted) and then evaluated under any weights of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.learning import METRICS
from fivefold.models.bootstrap import DRAWS, Interval, draws, interval, members
from fivefold.models.tasks import Task

Weighted = Callable[[np.ndarray], float]
"""A metric of prepared rows as a function of their weights `(n,)`; NaN where it is undefined."""

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
_TINY = 1e-15


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
        return _ndcg(y, p, groups) if name == "ndcg@10" else _mrr(y, p, groups)
    if task.name == "multiclass":
        return _MULTICLASS[name](y, p)
    return _PLAIN[name](y, p)


def _mean(values: np.ndarray, root: bool = False) -> Weighted:
    def at(w: np.ndarray) -> float:
        total = float(w.sum())
        found = float(values @ w) / total if total else float("nan")
        return found**0.5 if root else found

    return at


def _auc(y: np.ndarray, p: np.ndarray) -> Weighted:
    order = np.argsort(p, kind="stable")
    label = y[order]
    starts = np.flatnonzero(np.r_[True, np.diff(p[order]) != 0])

    def at(w: np.ndarray) -> float:
        weight = w[order]
        positive = np.add.reduceat(weight * label, starts)
        negative = np.add.reduceat(weight * (1 - label), starts)
        pairs = positive.sum() * negative.sum()
        below = np.cumsum(negative) - negative
        return float(positive @ (below + negative / 2) / pairs) if pairs else float("nan")

    return at


def _average_precision(y: np.ndarray, p: np.ndarray) -> Weighted:
    order = np.argsort(-p, kind="stable")
    label = y[order]
    ends = np.flatnonzero(np.r_[np.diff(p[order]) != 0, True])

    def at(w: np.ndarray) -> float:
        weight = w[order]
        hits, seen = np.cumsum(weight * label)[ends], np.cumsum(weight)[ends]
        if not hits[-1]:
            return float("nan")
        precision = np.divide(hits, seen, out=np.ones_like(hits), where=seen > 0)
        return float(np.diff(hits, prepend=0.0) @ precision / hits[-1])

    return at


def _logloss(y: np.ndarray, p: np.ndarray) -> Weighted:
    q = np.clip(p, _TINY, 1 - _TINY)
    return _mean(-(y * np.log(q) + (1 - y) * np.log1p(-q)))


def _confusion(y: np.ndarray, p: np.ndarray, what: str) -> Weighted:
    said = (p >= 0.5).astype(np.float64)
    hit, claimed, there = said * y, said, y

    def at(w: np.ndarray) -> float:
        h, c, t = float(hit @ w), float(claimed @ w), float(there @ w)
        over = {"precision": c, "recall": t, "f1": (c + t) / 2}[what]
        return h / over if over else float("nan") if what == "recall" else 0.0

    return at


def _ece(y: np.ndarray, p: np.ndarray, bins: int = 15) -> Weighted:
    """Expected calibration error over bins of equal width (Guo et al. 2017)."""
    place = np.minimum((p * bins).astype(np.int64), bins - 1)

    def at(w: np.ndarray) -> float:
        gap = np.bincount(place, w * (p - y), bins)
        return float(np.abs(gap).sum() / w.sum())

    return at


def _r2(y: np.ndarray, p: np.ndarray) -> Weighted:
    residual = (y - p) ** 2

    def at(w: np.ndarray) -> float:
        center = float(y @ w) / float(w.sum())
        spread = float(((y - center) ** 2) @ w)
        return 1 - float(residual @ w) / spread if spread else float("nan")

    return at


_PLAIN: dict[str, Callable[[np.ndarray, np.ndarray], Weighted]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "logloss": _logloss,
    "ece": _ece,
    "r2": _r2,
    "brier": lambda y, p: _mean((p - y) ** 2),
    "accuracy": lambda y, p: _mean(((p >= 0.5) == (y > 0.5)).astype(float)),
    "precision": lambda y, p: _confusion(y, p, "precision"),
    "recall": lambda y, p: _confusion(y, p, "recall"),
    "f1": lambda y, p: _confusion(y, p, "f1"),
    "rmse": lambda y, p: _mean((p - y) ** 2, root=True),
    "mae": lambda y, p: _mean(np.abs(p - y)),
}


def _macro_f1(y: np.ndarray, p: np.ndarray) -> Weighted:
    said = p.argmax(axis=1)
    each = [_confusion((y == k).astype(float), (said == k).astype(float), "f1") for k in range(p.shape[1])]
    return lambda w: float(np.mean([one(w) for one in each]))


_MULTICLASS: dict[str, Callable[[np.ndarray, np.ndarray], Weighted]] = {
    "accuracy": lambda y, p: _mean((p.argmax(axis=1) == y).astype(float)),
    "logloss": lambda y, p: _mean(-np.log(np.clip(p[np.arange(len(y)), y.astype(int)], _TINY, 1))),
    "brier": lambda y, p: _mean(((p - np.eye(p.shape[1])[y.astype(int)]) ** 2).sum(axis=1)),
    "f1": _macro_f1,
}


def _by_group(groups: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows ordered by group, then by falling score (ties by position); and where each group begins."""
    member, _ = members(groups)
    order = np.lexsort((np.arange(len(p)), -p, member))
    return order, np.flatnonzero(np.r_[True, np.diff(member[order]) != 0])


def _ndcg(y: np.ndarray, p: np.ndarray, groups: np.ndarray, depth: int = 10) -> Weighted:
    """Normalised discounted cumulative gain, gains as given (Järvelin and Kekäläinen 2002)."""
    order, starts = _by_group(groups, p)
    best, _ = _by_group(groups, y)
    rank = np.arange(len(y)) - np.repeat(starts, np.diff(np.r_[starts, len(y)]))
    discount = np.where(rank < depth, 1 / np.log2(rank + 2), 0.0)
    gained = np.add.reduceat(y[order] * discount, starts)
    most = np.add.reduceat(y[best] * discount, starts)
    value = np.divide(gained, most, out=np.zeros_like(gained), where=most > 0)
    return _of_groups(value, order, starts, most > 0)


def _mrr(y: np.ndarray, p: np.ndarray, groups: np.ndarray) -> Weighted:
    order, starts = _by_group(groups, p)
    rank = np.arange(len(y)) - np.repeat(starts, np.diff(np.r_[starts, len(y)])) + 1
    value = np.maximum.reduceat(np.where(y[order] > 0, 1 / rank, 0.0), starts)
    return _of_groups(value, order, starts, value > 0)


def _of_groups(value: np.ndarray, order: np.ndarray, starts: np.ndarray, defined: np.ndarray) -> Weighted:
    """The mean over groups that have something relevant; a group's weight is that of its rows."""

    def at(w: np.ndarray) -> float:
        weight = w[order][starts] * defined
        total = float(weight.sum())
        return float(value @ weight) / total if total else float("nan")

    return at


def _why_undefined(name: str) -> str:
    if name in ("auc", "average_precision", "recall"):
        return "All rows have the same label: choose a test with both."
    return "Choose a test with more, and more varied, rows."
