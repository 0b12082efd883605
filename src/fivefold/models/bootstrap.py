"""Intervals by resampling: a draw is a weight for each row, so that a metric sorts its rows once for all draws.

Percentile bootstrap, Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 13.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa

DRAWS = 200
CONFIDENCE = 0.95


class Interval(msgspec.Struct, frozen=True):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def draws(rows: int, groups: np.ndarray | None, seed: int, count: int = DRAWS) -> Iterator[np.ndarray]:
    """Weights `(rows,)` of `count` resamples with replacement; rows of a group are drawn together."""
    random = np.random.default_rng(seed)
    if groups is None:
        for _ in range(count):
            yield np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64)
        return
    member, sets = members(groups)
    for _ in range(count):
        yield np.bincount(random.integers(0, sets, sets), minlength=sets).astype(np.float64)[member]


def members(groups: np.ndarray) -> tuple[np.ndarray, int]:
    """Which group each row `(n,)` belongs to, as numbers in order of first appearance; and how many there are.

    Null is a group of its own.
    """
    coded = pa.array(groups).dictionary_encode(null_encoding="encode")
    return np.asarray(coded.indices.to_numpy(zero_copy_only=False)), len(coded.dictionary)


def interval(value: float, resampled: list[float]) -> Interval:
    """The percentile interval of resampled values; draws on which the metric was undefined do not count."""
    kept = np.array([v for v in resampled if not np.isnan(v)])
    if not len(kept):
        return Interval(value, value, value)
    low, high = np.quantile(kept, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))
