"""The finaliser: one value has the same bits alone as among others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import finish, wide

WINDOW = st.lists(st.integers(-(2**40) + 1, 2**40 - 1), max_size=6)


@given(st.lists(WINDOW, min_size=2, max_size=9), st.integers(-20, 40))
def test_a_state_alone_gives_the_bits_it_gives_among_others(windows: list[list[int]], scale: int) -> None:
    n = np.array([len(w) for w in windows])
    total = wide.of(np.array([sum(w) for w in windows]))
    squares = wide.of(np.zeros(len(windows), np.int64))
    for place in range(6):
        present = np.array([place < len(w) for w in windows])
        each = wide.square(np.array([w[place] if place < len(w) else 0 for w in windows]))
        squares = wide.add(squares, wide.Wide(np.where(present, each.high, 0), np.where(present, each.low, 0)))

    def values(some: slice) -> list[bytes]:
        t, s = wide.Wide(total.high[some], total.low[some]), wide.Wide(squares.high[some], squares.low[some])
        out = [
            finish.total(n[some], t, scale, Type.FLOAT64, "x"),
            finish.mean(n[some], t, scale),
            finish.std(n[some], t, s, scale),
            finish.quantile(n[some], n[some] * 1000),
        ]
        return [v.values.tobytes() + v.valid.tobytes() for v in out]

    together = [b"".join(values(slice(i, i + 1))) for i in range(len(windows))]
    for i, alone in enumerate(together):
        pair = values(slice(i - 1, i + 1)) if i else values(slice(0, 2))
        at = 1 if i else 0
        assert alone == b"".join(v[8 * at : 8 * at + 8] + v[16 + at : 17 + at] for v in pair)


def test_an_integer_sum_beyond_int64_is_an_error_not_a_wrong_number() -> None:
    with pytest.raises(Invalid, match="a sum does not fit int64"):
        finish.total(np.array([1]), wide.Wide(np.array([1]), np.array([0], np.uint64)), 0, Type.INT64, "view 'v'")


@pytest.mark.parametrize(("q", "n", "rank"), [(0.5, 0, 0), (0.5, 1, 0), (0.5, 4, 1), (0.99, 100, 98), (1.0, 7, 6)])
def test_ranks_are_rounded_down(q: float, n: int, rank: int) -> None:
    assert finish.rank(q, np.array([n])).item() == rank


@given(st.lists(st.lists(st.integers(-3, 3), max_size=9), max_size=6), st.integers(1, 5))
def test_the_kth_most_frequent_value_is_that_of_a_sorted_count(windows: list[list[int]], k: int) -> None:
    states = [sorted(set(w)) for w in windows]
    counts = [w.count(v) for w, state in zip(windows, states, strict=True) for v in state]
    different = np.array([len(s) for s in states], np.int64)
    found = finish.top(different, np.array([v for s in states for v in s]), np.array(counts, np.int64), k)
    ranked = [sorted(s, key=lambda v, w=w: (-w.count(v), v)) for w, s in zip(windows, states, strict=True)]  # type: ignore[misc]
    assert found.valid.tolist() == [len(r) >= k for r in ranked]
    assert found.values[found.valid].tolist() == [r[k - 1] for r in ranked if len(r) >= k]
