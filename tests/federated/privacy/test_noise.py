"""The noise of a decoded sum is what was promised, with all sites and with the fewest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.federated.contribution import Terms, sent_layout
from fivefold.federated.encoding.codec import decode, encode
from fivefold.federated.privacy.accounting import epsilon
from fivefold.federated.privacy.noise import Noise, private_plan, terms_under

LAYOUT = sent_layout(update=200)
ROW, CLIENT = ff.DP(3, 1e-5), ff.DP(4, 1e-5, unit="client", clip=0.5)


def planned(dp: ff.DP = ROW, central: bool = False, least: int = 6, releases: int = 10, **more) -> Noise:  # type: ignore[no-untyped-def]
    return private_plan(LAYOUT, dp, terms_under(dp, 1000), 0.5, **{"releases": releases, "cohort": 10, "min_survivors": least, "central": central, "seed": b"r", **more})


def noise_of(made: Noise, survivors: int, seed: int) -> np.ndarray:
    """The decoded sum of contributions that are all zero."""
    random = np.random.default_rng(seed)
    zero = np.zeros(LAYOUT.size)
    total = np.zeros(made.plan.size, np.uint64)
    for _ in range(survivors):
        total += encode(zero, made.plan, random.bytes)
    return decode(total, survivors, made.plan, random.bytes)


@pytest.mark.parametrize("dp", [ROW, CLIENT], ids=["row", "client"])
@pytest.mark.parametrize(("survivors", "central"), [(10, False), (6, False), (10, True), (6, True)])
def test_the_noise_has_the_variance_of_the_plan(dp: ff.DP, survivors: int, central: bool) -> None:
    made = planned(dp, central)
    seen = np.concatenate([noise_of(made, survivors, seed)[:200] for seed in range(20)])
    # every site adds a share of which min_survivors are enough, so more sites give more
    variance = made.deviation**2 * (1 if central else survivors / 6)
    chance = stats.chi2.cdf(np.sum(seen**2) / variance, len(seen))
    assert 1e-4 < chance < 1 - 1e-4
    assert stats.kstest(seen / math.sqrt(variance), "norm").pvalue > 1e-4


@pytest.mark.parametrize("dp", [ROW, CLIENT], ids=["row", "client"])
@pytest.mark.parametrize("central", [False, True])
def test_all_rounds_together_spend_the_budget_and_no_more(dp: ff.DP, central: bool) -> None:
    made = planned(dp, central)
    spent = epsilon(tuple(10 * v for v in made.curve), dp.delta)
    assert 0.97 * dp.epsilon < spent <= dp.epsilon


def test_a_row_moves_the_whole_numbers_by_no_more_than_is_accounted() -> None:
    """Neighbours are encoded with the same random numbers: then they differ by the row alone, and by rounding."""
    made = planned()
    plan, random = made.plan, np.random.default_rng(0)
    change = 1 / plan.grid + math.sqrt(len(encode(np.zeros(LAYOUT.size), plan)))
    without = np.concatenate([random.normal(size=200) / 1000, [0.4, 0.3, 0.1]])
    for seed in range(30):
        row = random.normal(size=200)
        row *= ROW.clip * 0.5 / 1000 / np.linalg.norm(row)
        added = without + np.concatenate([row, [1 / 1000, 4 / 1000, 1 / 1000]])
        one, two = (encode(v, plan, np.random.default_rng(seed).bytes).astype(np.int64) for v in (without, added))
        assert 0.9 / plan.grid < np.linalg.norm(two - one) <= change


def test_more_rounds_and_smaller_budgets_mean_more_noise() -> None:
    assert planned(releases=40).deviation > 1.8 * planned(releases=10).deviation
    assert planned(ff.DP(1, 1e-5)).deviation > 2 * planned(ff.DP(3, 1e-5)).deviation


def test_fewer_survivors_mean_a_larger_share() -> None:
    assert planned(least=2).plan.share == pytest.approx(5 * planned(least=10).plan.share, rel=1e-3)


def test_a_sum_with_noise_is_right_on_average() -> None:
    made = planned(CLIENT, releases=1)
    random = np.random.default_rng(3)
    vector = np.concatenate([np.full(200, 0.5 / math.sqrt(200)), [1.0, 0.7, 0.0]])
    sums = []
    for _ in range(40):
        total = sum(encode(vector, made.plan, random.bytes) for _ in range(8))
        sums.append(decode(total, 8, made.plan))
    error = np.mean(sums, axis=0) - 8 * vector
    assert np.abs(error[:200]).max() < 5 * made.deviation * math.sqrt(8 / 6 / 40)
    assert error[200] == 0  # the weight of a site is one, whatever it holds: no noise is needed


@pytest.mark.parametrize(("dp", "terms", "message"), [
    (ROW, Terms(total=10, row_clip=1.0), "without a cap"), (ROW, Terms(total=10, loss_cap=1.0), "row_clip=None"),
    (CLIENT, Terms(equal=True, loss_cap=1.0), "reach=inf"), (CLIENT, Terms(reach=0.5, loss_cap=1.0), "equal=False")])
def test_terms_that_bound_nothing_are_refused(dp: ff.DP, terms: Terms, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        private_plan(LAYOUT, dp, terms, 0.1, releases=1, cohort=3, min_survivors=2, central=False, seed=b"")


def test_a_contribution_with_more_than_one_vector_is_refused() -> None:
    with pytest.raises(Invalid, match="update, control"):
        private_plan(sent_layout(update=3, control=3), ROW, terms_under(ROW, 9), 0.1, releases=1, cohort=3, min_survivors=2, central=False, seed=b"")
