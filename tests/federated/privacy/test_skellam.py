"""The noise has the distribution that it is accounted for."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy import stats

from fivefold.core.errors import Invalid
from fivefold.federated.privacy.skellam import LARGEST, distribution, reach, skellam


@pytest.mark.parametrize("variance", [1, 2, 7, 100, 2500])
def test_the_table_is_the_distribution(variance: int) -> None:
    table = distribution(variance)
    cdf = table.high / 2.0**64
    at = np.arange(-table.reach, table.reach)
    assert np.abs(cdf - stats.skellam.cdf(at, variance / 2, variance / 2)).max() < 1e-8  # scipy is no more exact than that
    assert (np.diff(table.high.astype(object)) >= 0).all()
    # the chances above and below are equal to the last of 128 bits but one
    whole = [int(h) << 64 | int(l) for h, l in zip(table.high, table.low, strict=True)]
    assert all(abs((1 << 128) - whole[-1 - i] - whole[i]) <= 2 for i in range(len(whole) // 2))


@pytest.mark.parametrize("variance", [1, 3, 50])
def test_chances_agree_with_a_slow_exact_sum(variance: int) -> None:
    """P(X = k) as the sum over Poisson pairs, in fractions of 400 bits."""
    from decimal import Decimal, getcontext

    getcontext().prec = 80
    half = Decimal(variance) / 2
    p = [(-half).exp()]
    for n in range(1, 400):
        p.append(p[-1] * half / n)
    table = distribution(variance)
    whole = [0] + [int(h) << 64 | int(l) for h, l in zip(table.high, table.low, strict=True)] + [1 << 128]
    for k in range(6):
        expected = sum(a * b for a, b in zip(p[k:], p, strict=False))
        got = Decimal(whole[table.reach + k + 1] - whole[table.reach + k]) / Decimal(1 << 128)
        assert abs(got - expected) < Decimal(2) ** -120


def test_draws_pass_a_chi_square_test() -> None:
    draws = skellam(9, 60_000, np.random.default_rng(5).bytes)
    edges = np.arange(-9, 10)
    counts = [np.sum(draws <= -9), *(np.sum(draws == k) for k in edges[1:-1]), np.sum(draws >= 9)]
    cdf = stats.skellam.cdf(edges, 4.5, 4.5)
    chances = [cdf[0], *np.diff(cdf)[:-1], 1 - cdf[-2]]
    assert stats.chisquare(counts, 60_000 * np.array(chances)).pvalue > 1e-4


def test_words_that_are_equal_are_decided_by_the_next() -> None:
    table = distribution(4)
    i = table.reach
    high, low = int(table.high[i]), int(table.low[i])

    def drawn(low: int) -> int:
        return int(skellam(4, 1, lambda n: np.array([high, low], dtype="<u8").tobytes())[0])

    assert drawn(low) == i + 1 - table.reach
    assert drawn(low - 1) == i - table.reach


def test_the_extremes_of_the_random_numbers_are_within_the_reach() -> None:
    least, greatest = (int(skellam(4, 1, lambda n, b=b: b * n)[0]) for b in (b"\0", b"\xff"))
    assert -reach(4) <= least < -30
    assert 30 < greatest <= reach(4)


def test_no_variance_is_no_noise() -> None:
    assert skellam(0, 3, os.urandom).tolist() == [0, 0, 0]


@pytest.mark.parametrize("variance", [-1, 2.5, LARGEST + 1, True])
def test_another_variance_is_refused(variance) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Invalid, match="accepted: a whole number"):
        skellam(variance, 1, os.urandom)
