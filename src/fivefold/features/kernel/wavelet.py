"""Order statistics of ranges by a wavelet matrix (Claude, Navarro, Ordóñez, Information Systems 2015).

The matrix is built bit by bit while all queries walk down with it, so that only one level is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fivefold.features.kernel.arrays import Array, Flags, Ints, Span


def _levels(numbers: Array, bits: int) -> Iterator[tuple[int, Array, int]]:
    """For each bit, highest first: the bit, how many of the first i numbers lack it, and how many lack it in all."""
    for bit in range(bits - 1, -1, -1):
        lacks = (numbers >> bit) & 1 == 0
        zeros = np.zeros(len(numbers) + 1, np.int32)
        np.cumsum(lacks, out=zeros[1:])
        yield bit, zeros, int(zeros[-1])
        numbers = np.concatenate([numbers[lacks], numbers[~lacks]])


def count_below(numbers: Array, end: Ints, limit: Ints) -> Ints:
    """How many of the first `end` numbers are below `limit`, for each pair; the numbers are not negative."""
    bits = max(int(numbers.max(initial=0)), int(limit.max(initial=0))).bit_length()
    start = np.zeros_like(end)
    found = np.zeros_like(end)
    for bit, zeros, total in _levels(numbers, bits):
        zeros_start, zeros_end = zeros[start].astype(np.int64), zeros[end].astype(np.int64)
        ones: Flags = (limit >> bit) & 1 == 1
        found += np.where(ones, zeros_end - zeros_start, 0)
        start = np.where(ones, total + start - zeros_start, zeros_start)
        end = np.where(ones, total + end - zeros_end, zeros_end)
    return found


def kth_smallest(numbers: Array, span: Span, k: Ints) -> Ints:
    """The k-th smallest (from 0) of the numbers in each range; every range must hold more than k."""
    lo, hi = span
    found = np.zeros_like(lo)
    for bit, zeros, total in _levels(numbers, int(numbers.max(initial=0)).bit_length()):
        zeros_lo, zeros_hi = zeros[lo].astype(np.int64), zeros[hi].astype(np.int64)
        within = zeros_hi - zeros_lo
        low: Flags = k < within
        found |= np.where(low, 0, 1 << bit)
        k = np.where(low, k, k - within)
        lo = np.where(low, zeros_lo, total + lo - zeros_lo)
        hi = np.where(low, zeros_hi, total + hi - zeros_hi)
    return found


def kth_smallest_left(came: Array, went: Array, arrived: Ints, gone: Ints, k: Ints) -> Ints:
    """The k-th smallest (from 0) of the first `arrived` numbers of `came` without the first `gone` of `went`.

    `came` and `went` are two orders of the same numbers; what has gone has arrived, and more than k are left. Numbers
    with the same leading bits begin at the same place in both matrices, so only the ends are followed.
    """
    found = np.zeros_like(arrived)
    bits = int(came.max(initial=0)).bit_length()
    for (bit, zeros_came, total), (_, zeros_went, _) in zip(_levels(came, bits), _levels(went, bits), strict=True):
        lack_arrived, lack_gone = zeros_came[arrived].astype(np.int64), zeros_went[gone].astype(np.int64)
        # what lies before the set is the same on both sides and falls out of the difference
        within = lack_arrived - lack_gone
        low: Flags = k < within
        found |= np.where(low, 0, 1 << bit)
        k = np.where(low, k, k - within)
        arrived = np.where(low, lack_arrived, total + arrived - lack_arrived)
        gone = np.where(low, lack_gone, total + gone - lack_gone)
    return found


def count_distinct(numbers: Array, span: Span) -> Ints:
    """How many different numbers each range holds.

    A number is counted where it first appears in the range, that is where its previous occurrence lies before `lo`.
    All positions before `lo` have their previous occurrence there too, so they are counted and taken off again.
    """
    order = np.argsort(numbers, kind="stable")
    again = numbers[order[1:]] == numbers[order[:-1]]
    # one more than the previous occurrence, 0 where there is none
    previous = np.zeros(len(numbers), np.int64)
    previous[order[1:][again]] = order[:-1][again] + 1
    return np.where(span.size > 0, count_below(previous, span.hi, span.lo + 1) - span.lo, 0)
