from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.learning import GroupSplit, RandomSplit, TimeSplit
from fivefold.core.time import DAY, instant
from fivefold.models.splits import split

START = instant("2013-11-01")
NEVER = np.iinfo(np.int64).max
around = st.integers(-3, 3).map(lambda days: START + days * DAY) | st.integers(-2, 2).map(lambda us: START + us)


@given(st.lists(st.tuples(around, st.sampled_from([0, 1, DAY, 5 * DAY, None])), min_size=1, max_size=30))
@settings(deadline=None)
def test_nothing_known_at_or_after_the_start_of_the_test_is_learned_from(rows: list[tuple[int, int | None]]) -> None:
    time = np.array([t for t, _ in rows])
    known = np.array([NEVER if after is None else t + after for t, after in rows])
    assume((known < START).any() and (time >= START).any())
    parts = split(TimeSplit(test="2013-11-01"), rows=len(rows), time=time, known=known)
    assert (known[parts.train] < START).all()
    assert (time[parts.train] < START).all()
    assert (time[parts.test] >= START).all()
    assert parts.test.sum() == (time >= START).sum()
    assert parts.purged == ((time < START) & (known >= START)).sum()


@given(st.lists(around, min_size=1, max_size=30))
@settings(deadline=None)
def test_until_ends_the_test(times: list[int]) -> None:
    time = np.array(times)
    end = START + DAY
    assume((time < START).any() and ((time >= START) & (time < end)).any())
    parts = split(TimeSplit(test="2013-11-01", until="2013-11-02"), rows=len(time), time=time)
    assert np.array_equal(parts.test, (time >= START) & (time < end))
    assert parts.purged == (time >= end).sum()


@given(
    st.lists(st.sampled_from(["a", "b", "c", 1, 2, None, 3.5]) | st.integers(0, 30), min_size=2, max_size=60),
    st.floats(0.1, 0.9),
    st.integers(0, 100),
)
@settings(deadline=None)
def test_no_group_is_on_both_sides(groups: list[object], share: float, seed: int) -> None:
    column = np.array(groups, dtype=object)
    try:
        parts = split(GroupSplit(by="g", test=share, seed=seed), rows=len(groups), time=np.zeros(1), groups=column)
    except Invalid as e:
        assert "leaves no row" in e.message
        return
    sides: dict[object, bool] = {}
    for group, test in zip(groups, parts.test, strict=True):
        assert sides.setdefault(group, test) == test
    assert np.array_equal(parts.train, ~parts.test)


def test_a_group_keeps_its_side_when_rows_come_and_when_a_null_makes_integers_floats() -> None:
    how = GroupSplit(by="g", test=0.5)
    few = split(how, rows=20, time=np.zeros(20), groups=np.arange(20))
    more = split(how, rows=41, time=np.zeros(41), groups=np.array([np.nan, *range(20), *range(20)]))
    assert np.array_equal(more.test[1:21], few.test)
    assert np.array_equal(more.test[21:], few.test)


def test_a_random_split_has_about_its_share_is_stable_and_depends_on_the_seed() -> None:
    first, again, other = (split(RandomSplit(test=0.3, seed=s), rows=5000, time=np.zeros(5000)) for s in (1, 1, 2))
    assert abs(first.test.mean() - 0.3) < 0.03
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)
    assert not (first.train & first.test).any()
    shorter = split(RandomSplit(test=0.3, seed=1), rows=3000, time=np.zeros(3000))
    assert np.array_equal(first.test[:3000], shorter.test)


def test_an_empty_side_is_refused_and_named() -> None:
    time = np.array([START - DAY, START - 2 * DAY])
    with pytest.raises(Invalid, match="leaves no row to test on, of 2"):
        split(TimeSplit(test="2013-11-01"), rows=2, time=time)
    with pytest.raises(Invalid, match="leaves no row to train on, of 2"):
        split(TimeSplit(test="2013-01-01"), rows=2, time=time)
