"""Sums over rows tell what columns are like, whoever holds which rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.models.learners.logistic import describe
from fivefold.models.statistics import columns_from, exponents, moments, spread, units

VALUES = st.one_of(st.floats(-1e15, 1e15), st.just(float("nan")), st.integers(-50, 50).map(float), st.just(0.0))


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=40), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_any_division_of_rows_gives_the_same_sums(values: list[list[float]], seed: int) -> None:
    x = np.array(values)
    part = np.random.default_rng(seed).integers(0, 3, len(x))
    sites = [x[part == i] for i in range(3)]
    counts = exponents(x)
    assert np.array_equal(sum(exponents(s) for s in sites), counts)
    unit = units(counts)
    there = ~np.isnan(x)
    assert (np.abs(x)[there] < np.broadcast_to(unit, x.shape)[there]).all()
    assert np.array_equal(sum(moments(s, unit) for s in sites), moments(x, unit))


def test_mean_and_deviation_are_those_of_numpy() -> None:
    random = np.random.default_rng(0)
    x = random.normal([0, 2013, 1e6, -5], [1, 0.4, 1e3, 1e-3], size=(2000, 4))
    x[random.random(x.shape) < 0.1] = np.nan
    unit = units(exponents(x))
    mean, deviation = spread(moments(x, unit), unit)
    assert np.allclose(mean, np.nanmean(x, axis=0), rtol=1e-6, atol=1e-6)
    assert np.allclose(deviation[:3], np.nanstd(x, axis=0)[:3], rtol=1e-3)
    # a column that varies by less than a part of its size keeps a scale of about that
    assert 0.5e-3 < deviation[3] < 2e-3


def test_columns_are_described_as_the_learner_does() -> None:
    random = np.random.default_rng(1)
    x = np.column_stack([random.normal(size=500), random.integers(0, 3, 500).astype(float), np.full(500, 7.0), np.full(500, np.nan)])
    x[3, 0] = np.nan
    unit = units(exponents(x))
    made, alone = columns_from(moments(x, unit), unit, (-1, 3, -1, -1)), describe(x, (1,))
    assert (made.levels, made.flagged) == (alone.levels, alone.flagged)
    assert np.allclose(made.means, alone.means, atol=1e-5)
    assert np.allclose(made.scales, alone.scales, rtol=1e-4)


def test_a_value_beyond_all_powers_is_refused() -> None:
    with pytest.raises(Invalid, match="column 1 is 1e\\+30"):
        exponents(np.array([[1.0, 1e30]]))
