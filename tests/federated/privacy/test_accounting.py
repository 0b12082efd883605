from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from dp_accounting import rdp
from dp_accounting.dp_event import GaussianDpEvent, SelfComposedDpEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.federated.privacy.accounting import ORDERS, add, epsilon, gaussian, least_multiplier, skellam_curve
from fivefold.federated.privacy.skellam import distribution


def test_gaussian_noise_costs_what_dp_accounting_says() -> None:
    accountant = rdp.RdpAccountant(ORDERS).compose(SelfComposedDpEvent(GaussianDpEvent(4.0), 30))
    assert epsilon(add([gaussian(4.0)] * 30), 1e-5) == pytest.approx(accountant.get_epsilon(1e-5), rel=1e-9)


@pytest.mark.parametrize(("variance", "change"), [(4, 1), (25, 1), (25, 3), (400, 10)])
def test_the_skellam_curve_bounds_the_true_divergence(variance: int, change: int) -> None:
    table = distribution(variance)
    whole = [0] + [int(h) << 64 | int(l) for h, l in zip(table.high, table.low, strict=True)] + [1 << 128]
    p = np.array([(b - a) / 2**128 for a, b in itertools.pairwise(whole)])
    q = np.roll(p, change)
    curve = dict(zip(ORDERS, skellam_curve(variance, change, 1), strict=True))
    tight = dict(zip(ORDERS, gaussian(math.sqrt(variance) / change), strict=True))
    for order in (2, 3, 8):
        there = (q > 1e-30) & (p > 1e-30) & (np.arange(len(p)) >= change)  # what is left out only makes it smaller
        mass = np.sum(p[there] * (p[there] / q[there]) ** (order - 1))
        true = math.log(mass) / (order - 1)
        assert true <= curve[order] * (1 + 1e-9)
        assert true > 0.5 * tight[order]


def test_much_skellam_noise_costs_what_gaussian_noise_does() -> None:
    fine, rough = epsilon(skellam_curve(1e10 * 25, 1e5, 1000), 1e-5), epsilon(gaussian(5.0), 1e-5)
    assert rough <= fine < rough * 1.01


@settings(max_examples=20, deadline=None)
@given(st.floats(0.1, 10), st.integers(1, 50))
def test_the_least_noise_is_within_the_budget_and_hardly_more(budget: float, releases: int) -> None:
    least = least_multiplier(budget, 1e-5, releases)
    assert epsilon(add([gaussian(least)] * releases), 1e-5) <= budget
    assert epsilon(add([gaussian(least * 0.997)] * releases), 1e-5) > budget


@given(st.floats(0.5, 20), st.integers(1, 20))
@settings(deadline=None)
def test_epsilon_grows_with_releases_and_falls_with_delta(multiplier: float, releases: int) -> None:
    some, more = add([gaussian(multiplier)] * releases), add([gaussian(multiplier)] * (releases + 1))
    assert epsilon(some, 1e-5) < epsilon(more, 1e-5)
    assert epsilon(some, 1e-6) >= epsilon(some, 1e-5)


def test_nothing_released_is_nothing_spent() -> None:
    assert epsilon(add([]), 1e-5) == 0.0


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(Invalid, match="no noise is enough"):
        least_multiplier(1.0, 1e-5, 1, lambda multiplier: gaussian(0.1))
    with pytest.raises(Invalid, match="multiplier=0"):
        gaussian(0)
