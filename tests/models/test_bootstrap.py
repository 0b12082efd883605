from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.models.bootstrap import draws, interval, members


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    one, two, other = (np.stack(list(draws(50, None, seed, 5))) for seed in (7, 7, 8))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_draw_holds_as_many_rows_as_there_are() -> None:
    assert all(w.sum() == 50 and w.min() >= 0 for w in draws(50, None, 1, 20))


@given(st.lists(st.sampled_from(["a", "b", None, "c"]), min_size=1, max_size=40))
@settings(deadline=None)
def test_rows_of_a_group_are_drawn_together(groups: list[str | None]) -> None:
    column = np.array(groups, dtype=object)
    sets = len(set(groups))
    for weights in draws(len(groups), column, 3, 4):
        weight = {}
        for group, w in zip(groups, weights, strict=True):
            assert weight.setdefault(group, w) == w
        assert sum(weight.values()) == sets


def test_groups_are_numbered_as_they_appear_and_null_is_one() -> None:
    member, count = members(np.array(["b", "a", None, "b", None], dtype=object))
    assert member.tolist() == [0, 1, 2, 0, 2]
    assert count == 3
    member, count = members(np.array([2.0, np.nan, 2.0, np.nan]))
    assert member.tolist() == [0, 1, 0, 1]


def test_an_interval_is_the_middle_of_the_draws_and_ignores_undefined_ones() -> None:
    found = interval(5.0, [*np.arange(1001.0).tolist(), float("nan")])
    assert (found.value, found.low, found.high) == pytest.approx((5.0, 25.0, 975.0))


def test_without_a_defined_draw_the_interval_is_the_value() -> None:
    found = interval(0.5, [float("nan")])
    assert (found.low, found.high) == (0.5, 0.5)


def test_an_interval_of_a_mean_is_about_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = interval(values.mean(), [float(values @ w / w.sum()) for w in draws(400, None, 1, 2000)])
    expected = 2 * 1.96 * values.std() / 20
    assert abs((found.high - found.low) / expected - 1) < 0.1
