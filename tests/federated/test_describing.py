"""Columns are described by sums: exactly, or with noise that hides every row."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pytest
from site_rows import drawn, pooled, unlike

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.federated.describing import Server, Site, describe_together
from fivefold.federated.privacy.accounting import add, epsilon
from fivefold.models.learners.logistic import describe

DP = ff.DP(2, 1e-5)


def test_sites_describe_columns_as_one_site_with_all_rows_does() -> None:
    parts = [x for x, _ in unlike(6)]
    whole = np.concatenate(parts)
    together, alone = (describe_together(p, (-1,) * 4, random=os.urandom) for p in (parts, [whole]))
    assert together == alone
    assert together.total == len(whole)
    assert np.allclose(together.columns.means, describe(whole, ()).means, atol=1e-5)


def test_with_noise_columns_are_described_about_so_and_paid_for_before() -> None:
    random = np.random.default_rng(0)
    x = np.column_stack([random.normal(2013, 0.5, 40_000), random.lognormal(3, 1.2, 40_000), random.integers(0, 5, 40_000).astype(float)])
    x[::7, 1] = np.nan
    paid = []
    made = describe_together(np.array_split(x, 8), (-1, -1, 5), dp=DP, releases=22, min_survivors=6, random=random.bytes,
                             pay=lambda key, what, curve: paid.append((key, curve)))
    exact = describe_together([x], (-1, -1, 5), random=os.urandom)
    assert abs(made.total - 40_000) < 400
    assert made.columns.means[0] == pytest.approx(2013, rel=0.01)
    assert made.columns.means[1] == pytest.approx(exact.columns.means[1], rel=0.1)
    assert 0.3 < made.columns.scales[1] / exact.columns.scales[1] < 1.2  # the longest tail is cut
    assert (made.columns.means[2], made.columns.scales[2]) == (0.0, 1.0)
    assert made.columns.flagged == (True, True, False)  # not even whether there are nulls is told of a row
    assert [key for key, _ in paid] == ["statistics/powers", "statistics/moments"]
    assert epsilon(add([curve for _, curve in paid] * 11), DP.delta) <= DP.epsilon


def test_the_noise_is_that_of_the_curve() -> None:
    """With hardly a row, what is told is noise: its spread is as accounted."""
    seen = []
    for seed in range(300):
        random = np.random.default_rng(seed)
        made = describe_together([np.zeros((1, 1))] * 4, (-1,), dp=DP, releases=2, min_survivors=4, random=random.bytes)
        seen.append(made.total)
    assert max(seen) > 3  # told totals are noisy, and never below one
    assert min(seen) == 1
    from fivefold.federated.describing import FINE, _noise

    noise = _noise(DP, FINE * 3**0.5, 3, 2, 4)
    upper = np.array(seen)[np.array(seen) > 4] - 4
    assert np.median(upper) == pytest.approx(0.6745 * (4 * noise.share) ** 0.5 / FINE, rel=0.35)


def test_nothing_is_summed_that_was_not_paid_for() -> None:
    def refuse(key: str, what: str, curve: tuple[float, ...]) -> None:
        raise Invalid("over budget")

    def no_sum(vectors, bits):  # type: ignore[no-untyped-def]
        raise AssertionError("it was released")

    with pytest.raises(Invalid, match="over budget"):
        describe_together([drawn(9)[0]], (-1,) * 4, dp=DP, modular=no_sum, pay=refuse, random=os.urandom)


def test_what_cannot_be_described_is_refused() -> None:
    with pytest.raises(Invalid, match="no site has a row"):
        describe_together([np.zeros((0, 2))], (-1, -1), random=os.urandom)
    with pytest.raises(Invalid, match="no bound for a whole site"):
        describe_together([pooled(unlike(2))[0]], (-1,) * 4, dp=ff.DP(1, 1e-5, unit="client"), random=os.urandom)


@pytest.mark.parametrize("dp", [None, DP], ids=["exact", "private"])
def test_columns_are_described_over_a_network_alike(dp: ff.DP | None) -> None:
    parts = [x for x, _ in unlike(6, each=2000)]
    more = {"sites": 6, "dp": dp, "min_survivors": 4, "rows": 2**20}
    server, sites = Server((-1,) * 4, **more), [Site((-1,) * 4, **more).over(x) for x in parts]
    state, random = server.begin(), np.random.default_rng(0)
    while not server.done(state):
        sent = {name: np.array(array) for name, array in server.broadcast(state).items()}
        vectors = [site(sent, random.bytes) for site in sites]
        assert all(v.shape == (server.length,) and (v < 1 << server.bits).all() for v in vectors)
        state = server.step([Sum(np.sum(vectors, axis=0, dtype=np.uint64))], state)
    made, exact = server.described(state), describe_together(parts, (-1,) * 4, random=os.urandom)
    if dp is None:
        assert made == exact
    else:
        assert np.allclose(made.columns.scales, exact.columns.scales, rtol=0.2)
        assert abs(made.total / exact.total - 1) < 0.02
    with pytest.raises(Invalid, match="is not asked for"):
        server.step([Sum(vectors[0])], state)


class Sum(NamedTuple):
    vector: np.ndarray
