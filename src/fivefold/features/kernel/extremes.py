"""Least and greatest of ranges by a sparse table, one level in memory at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.features.kernel.arrays import Array, Ints, Span


def extreme(numbers: Array, span: Span, pick: np.ufunc) -> Array:
    """`np.minimum` or `np.maximum` of each range; an empty range gives a zero."""
    out: Array = np.zeros(len(span.lo), numbers.dtype)
    # the level of a range is the exponent of its size; empty ranges are at -1
    level: Ints = np.frexp(span.size.astype(np.float64))[1].astype(np.int64) - 1
    best: np.ndarray[Any, Any] = numbers
    for k in range(int(level.max(initial=-1)) + 1):
        if k > 0:
            half = 1 << (k - 1)
            best = pick(best[: len(best) - half], best[half:])
        here = np.flatnonzero(level == k)
        # two overlapping blocks of 2^k cover the range
        out[here] = pick(best[span.lo[here]], best[span.hi[here] - (1 << k)])
    return out
