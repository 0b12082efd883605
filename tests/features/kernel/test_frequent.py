"""Frequent values of ranges that move forward, against counting each range."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fivefold.features.kernel.arrays import Span
from fivefold.features.kernel.frequent import kth_most_frequent, spells

RANKS = st.lists(st.integers(0, 6), max_size=50)
EDGES = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40)


def forward(edges: list[tuple[int, int]], rows: int) -> Span:
    """Ranges whose edges only move forward, empty ones too."""
    lo, hi = (np.sort(np.minimum(e, rows)) for e in np.array(edges, np.int64).reshape(-1, 2).T)
    return Span(np.minimum(lo, hi), hi)


@given(RANKS, EDGES, st.integers(1, 8))
def test_the_kth_most_frequent_is_that_of_a_count(ranks: list[int], edges: list[tuple[int, int]], k: int) -> None:
    span = forward(edges, len(ranks))
    different, found = kth_most_frequent(np.array(ranks, np.int64), span, k)
    counts = [Counter(ranks[lo:hi]) for lo, hi in zip(*span, strict=True)]
    ranked = [sorted(c, key=lambda v, c=c: (-c[v], v)) for c in counts]  # type: ignore[misc]
    assert different.tolist() == [len(c) for c in counts]
    assert found.tolist() == [r[k - 1] if len(r) >= k else 0 for r in ranked]


@given(RANKS, EDGES)
def test_a_query_is_in_one_spell_of_each_value_it_holds(ranks: list[int], edges: list[tuple[int, int]]) -> None:
    span = forward(edges, len(ranks))
    made = spells(np.array(ranks, np.int64), span)
    assert len(made.value) <= 2 * len(ranks)
    for query, (lo, hi) in enumerate(zip(*span, strict=True)):
        here = (made.begin <= query) & (query < made.end)
        pairs = list(zip(made.value[here].tolist(), made.count[here].tolist(), strict=True))
        assert sorted(pairs) == sorted(Counter(ranks[lo:hi]).items())
