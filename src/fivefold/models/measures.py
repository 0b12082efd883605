"""What each metric measures: from rows, prepared once, to a function of their weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fivefold.models.bootstrap import members

Weighted = Callable[[np.ndarray], float]
"""A metric of prepared rows as a function of their weights `(n,)`; NaN where it is undefined."""

TINY = 1e-15


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
    q = np.clip(p, TINY, 1 - TINY)
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


PLAIN: dict[str, Callable[[np.ndarray, np.ndarray], Weighted]] = {
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


MULTICLASS: dict[str, Callable[[np.ndarray, np.ndarray], Weighted]] = {
    "accuracy": lambda y, p: _mean((p.argmax(axis=1) == y).astype(float)),
    "logloss": lambda y, p: _mean(-np.log(np.clip(p[np.arange(len(y)), y.astype(int)], TINY, 1))),
    "brier": lambda y, p: _mean(((p - np.eye(p.shape[1])[y.astype(int)]) ** 2).sum(axis=1)),
    "f1": _macro_f1,
}


def _by_group(groups: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows ordered by group, then by falling score (ties by position); and where each group begins."""
    member, _ = members(groups)
    order = np.lexsort((np.arange(len(p)), -p, member))
    return order, np.flatnonzero(np.r_[True, np.diff(member[order]) != 0])


def ndcg(y: np.ndarray, p: np.ndarray, groups: np.ndarray, depth: int = 10) -> Weighted:
    """Normalised discounted cumulative gain, gains as given (Järvelin and Kekäläinen 2002)."""
    order, starts = _by_group(groups, p)
    best, _ = _by_group(groups, y)
    rank = np.arange(len(y)) - np.repeat(starts, np.diff(np.r_[starts, len(y)]))
    discount = np.where(rank < depth, 1 / np.log2(rank + 2), 0.0)
    gained = np.add.reduceat(y[order] * discount, starts)
    most = np.add.reduceat(y[best] * discount, starts)
    value = np.divide(gained, most, out=np.zeros_like(gained), where=most > 0)
    return _of_groups(value, order, starts, most > 0)


def mrr(y: np.ndarray, p: np.ndarray, groups: np.ndarray) -> Weighted:
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
