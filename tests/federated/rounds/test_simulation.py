"""A simulation is the deployment without the network: the same messages, and the same sums."""

from __future__ import annotations

from typing import Any

import pytest
from small_federation import Adding, counted, expected, plan

from fivefold.core.errors import Invalid, Unavailable
from fivefold.federated.rounds.simulation import simulate


def works(count: int) -> dict[str, Any]:
    return {f"s{i:03}": lambda m, _, i=i: counted(f"s{i:03}", m.round, m.length) for i in range(count)}


def test_ten_sites_of_whom_one_drops_out_now_and_then() -> None:
    sites = works(10)
    given = plan(cohort=10, quorum=10, rounds=3, seconds=100)
    found = simulate(given, Adding(), sites, seed=7, present=lambda site, turn: site != "s004" or turn % 40 < 2)
    assert found.state["total"].tolist() == [
        sum(int(counted(name, r.round)[i]) for r in found.rounds for part in r.survivors or () for name in part) for i in range(6)]
    assert {len(r.survivors[0]) for r in found.rounds if r.survivors} <= {9, 10}
    assert min(found.sent, found.received) > 10_000


def test_who_is_chosen_is_repeatable_and_masks_are_not() -> None:
    chosen = [[r.buckets for r in simulate(plan(cohort=4, quorum=8, rounds=2), Adding(), works(8), seed=s).rounds] for s in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.long
def test_a_ring_of_more_than_a_hundred_through_all_of_it() -> None:
    sites = works(120)
    found = simulate(plan(cohort=120, quorum=120, rounds=1, corrupt=20, dropout=5), Adding(), sites)
    assert found.state["total"].tolist() == expected(sites, [1])
    assert len(found.rounds[0].survivors[0]) == 120


def test_a_federation_that_gives_up_or_waits_for_nobody_says_so() -> None:
    class Spent(Adding):
        def step(self, parts: Any, state: Any) -> Any:
            raise Invalid("the budget is spent.")

    with pytest.raises(Unavailable, match="gave up after 2 rounds: the budget is spent"):
        simulate(plan(attempts=2), Spent(), works(4))
    with pytest.raises(Unavailable, match="sites that never come"):
        simulate(plan(rounds=1), Adding(), works(3))
