"""The most frequent values of ranges whose edges only move forward, by spells.

A spell is a stretch of queries through which a value occurs the same number of times. A range has one spell of each of
its values, so the k-th most frequent value is that of the k-th best spell begun and not yet ended. There are at most
two spells a row, however many values there are and however long the ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fivefold.features.kernel import finish
from fivefold.features.kernel.arrays import Ints, Span
from fivefold.features.kernel.wavelet import kth_smallest_left


@dataclass(frozen=True)
class Spells:
    """Which value occurs how often from query `begin` up to before query `end`."""

    value: Ints
    count: Ints
    begin: Ints
    end: Ints


def kth_most_frequent(ranks: Ints, span: Span, k: int) -> tuple[Ints, Ints]:
    """How many different ranks each range holds, and the k-th (from 1) most frequent; 0 where there are fewer than k.

    Of equally frequent ranks the least comes first. No edge of a range may lie before that of the range before it.
    """
    of = spells(ranks, span)
    standing = finish.standing(of.count, of.value)
    value_of = np.zeros(len(standing), np.int64)
    value_of[standing] = of.value
    asked = len(span.lo)
    begun, ended = _at_most(of.begin, asked), _at_most(of.end, asked)
    out = np.zeros(asked, np.int64)
    enough = np.flatnonzero(begun - ended >= k)
    if len(enough):
        came, went = standing[np.argsort(of.begin)], standing[np.argsort(of.end)]
        place = np.full(len(enough), k - 1)
        out[enough] = value_of[kth_smallest_left(came, went, begun[enough], ended[enough], place)]
    return begun - ended, out


def spells(ranks: Ints, span: Span) -> Spells:
    """The spells of all values that any range holds, by value, then in order.

    A row is in the ranges from the first whose right edge is beyond it up to the first whose left edge is.
    """
    begin, end = _at_most(span.hi, len(ranks)), _at_most(span.lo, len(ranks))
    seen = begin < end
    # (value, query) on one line; the queries of a value are 0 to all of them, where what never leaves ends
    width = len(span.lo) + 1
    line = ranks[seen] * width
    begins, ends = np.sort(line + begin[seen]), np.sort(line + end[seen])
    at = np.sort(np.concatenate([begins, ends]))
    at = at[np.diff(at, prepend=-1) > 0]  # ten times faster than np.unique
    # all that began at a lesser value has ended before this one begins, so it falls out of the difference
    count = np.searchsorted(begins, at, "right") - np.searchsorted(ends, at, "right")
    held = np.flatnonzero(count > 0)
    value = at[held] // width
    return Spells(value, count[held], at[held] - value * width, at[held + 1] - value * width)


def _at_most(numbers: Ints, limit: int) -> Ints:
    """How many numbers are at most 0, 1, … limit - 1; none is above limit."""
    return np.cumsum(np.bincount(numbers, minlength=limit + 1))[:limit]
