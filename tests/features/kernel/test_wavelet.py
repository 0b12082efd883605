"""Order statistics of ranges against sorting each range."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fivefold.features.kernel.arrays import Span
from fivefold.features.kernel.extremes import extreme
from fivefold.features.kernel.wavelet import count_below, count_distinct, kth_smallest, kth_smallest_left

NUMBERS = st.lists(st.integers(0, 20), max_size=60)


def ranges(numbers: list[int]) -> tuple[list[slice], Span]:
    """Every range of the positions, empty ones too."""
    pairs = [(lo, hi) for lo in range(len(numbers) + 1) for hi in range(lo, len(numbers) + 1)]
    lo, hi = np.array(pairs).T
    return [slice(*p) for p in pairs], Span(lo, hi)


@given(NUMBERS)
def test_distinct_counts_are_sizes_of_sets(numbers: list[int]) -> None:
    cuts, span = ranges(numbers)
    assert count_distinct(np.array(numbers, np.int64), span).tolist() == [len(set(numbers[c])) for c in cuts]


@given(NUMBERS, st.integers(0, 100))
def test_the_kth_smallest_is_the_kth_of_the_sorted_range(numbers: list[int], k: int) -> None:
    cuts, span = ranges(numbers)
    some = np.flatnonzero(span.size > 0)
    within = Span(span.lo[some], span.hi[some])
    found = kth_smallest(np.array(numbers, np.int64), within, k % np.maximum(within.size, 1))
    cuts = [cuts[i] for i in some]
    assert found.tolist() == [sorted(numbers[c])[k % len(numbers[c])] for c in cuts]


@given(NUMBERS, st.lists(st.integers(0, 40), min_size=1))
def test_counting_below_a_limit_of_any_size(numbers: list[int], limits: list[int]) -> None:
    end = np.arange(len(limits)) % (len(numbers) + 1)
    found = count_below(np.array(numbers, np.int64), end, np.array(limits, np.int64))
    assert found.tolist() == [sum(n < limit for n in numbers[:e]) for e, limit in zip(end, limits, strict=True)]


@given(NUMBERS)
def test_extremes_are_the_least_and_the_greatest_and_zero_of_nothing(numbers: list[int]) -> None:
    cuts, span = ranges(numbers)
    array = np.array(numbers, np.int64) - 10
    assert extreme(array, span, np.minimum).tolist() == [array[c].min() if array[c].size else 0 for c in cuts]
    assert extreme(array, span, np.maximum).tolist() == [array[c].max() if array[c].size else 0 for c in cuts]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.integers(0, 9)), max_size=60), st.integers(0, 100))
def test_the_kth_smallest_of_what_came_and_did_not_go(stays: list[tuple[int, int, int]], k: int) -> None:
    number, came, stayed = np.array(stays, np.int64).reshape(-1, 3).T
    went = came + stayed
    here = [sorted(n for n, c, s in stays if c <= at < c + s) for at in range(20)]
    asked = [at for at in range(20) if here[at]]
    found = kth_smallest_left(
        number[np.argsort(came)],
        number[np.argsort(went)],
        np.array([(came <= at).sum() for at in asked], np.int64),
        np.array([(went <= at).sum() for at in asked], np.int64),
        np.array([k % len(here[at]) for at in asked], np.int64),
    )
    assert found.tolist() == [here[at][k % len(here[at])] for at in asked]
