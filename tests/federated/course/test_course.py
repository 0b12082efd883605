"""What a federation trains in one process is what comes of it over lines, with the coordinator killed or not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from declared_sites import Sites, declared, ones
from small_federation import turn

import fivefold as ff
from fivefold.core.errors import Unavailable
from fivefold.federated.privacy.ledger import ledger_of
from fivefold.federated.training import train_together
from fivefold.federated.wire import envelope

SECURE = ff.SecureSum(min_survivors=3)


def together(sites: Sites) -> np.ndarray:
    """Weights of the same federation in one process."""
    made = train_together(sites.federation, sites.parts, "binary", random=ones)
    assert made.history is not None
    return made.history.state.parameters


@pytest.mark.parametrize("more", [{}, {"privacy": SECURE}, {"privacy": SECURE, "strategy": ff.FedProx(epochs=2, lr=0.5, mu=0.1)},
                                  {"robust": ff.Median()}, {"privacy": ff.SecureSum(3, bits=32), "strategy": ff.Newton()},
                                  {"privacy": SECURE, "strategy": ff.Scaffold(epochs=2, lr=0.5)}], ids=str)
def test_over_lines_it_comes_to_the_same_bits_as_in_one_process(sites: Any, more: dict[str, Any]) -> None:
    made = sites(declared(**more), random=ones)
    progress = made.run()
    assert made.coordinator.over, made.said()
    assert progress.sent["parameters"].tobytes() == together(made).tobytes()


def test_trees_over_lines_are_those_of_one_process(sites: Any) -> None:
    made = sites(declared(ff.learner("trees", trees=2, depth=2), strategy=None, privacy=SECURE))
    progress = made.run()
    alone = train_together(made.federation, made.parts, "binary")
    x = made.parts[0][0]
    fitted = made.course.fitted(progress)
    assert fitted is not None
    assert fitted.predict(x).tobytes() == alone.fitted.predict(x).tobytes()


def test_buckets_are_compared_by_a_rule(sites: Any) -> None:
    made = sites(declared(privacy=ff.SecureSum(2), robust=ff.Median(), rounds=2), count=8, random=ones)
    assert made.run().known.round == 2
    assert [len(row.survivors) for row in made.server.catalog.rounds.all("f@1")] == [4] * 5


def test_every_release_is_paid_for_once_before_it_and_a_restart_pays_nothing(sites: Any) -> None:
    made = sites(declared(privacy=[SECURE, ff.DP(3, 1e-5)]))
    for _ in range(60):
        turn(made.sites)
        made.server.restart()
    assert made.coordinator.over
    assert made.progress.known.round == 3
    spent = made.server.catalog.releases.of(ledger_of(made.federation))
    assert [r.key for r in spent] == [f"f@1/{n}" for n in range(1, 7)]
    assert 2.5 < spent[-1].epsilon <= 3
    offers = [made.server.catalog.rounds.get("f@1", n) for n in range(1, 7)]
    assert len(offers) == 6


def test_a_release_over_budget_does_not_happen(sites: Any) -> None:
    made = sites(declared(privacy=[SECURE, ff.DP(3, 1e-5)]))
    releases, federation = made.server.catalog.releases, made.federation
    from fivefold.federated.privacy.accounting import gaussian
    from fivefold.federated.privacy.ledger import pay
    pay(releases, federation, "before", "something else", gaussian(1.55))
    for _ in range(12):
        turn(made.sites)
    row = made.server.catalog.rounds.all("f@1")[-1]
    assert row.status == "aborted"
    assert "the budget is 3" in row.error
    # nobody was asked for the masks
    assert not [entry for entry in made.server.catalog.rounds.log("f@1", 1) if entry.step == 5]


def test_who_drops_out_is_missed_in_no_sum(sites: Any) -> None:
    made = sites(declared(privacy=SECURE), count=5, quorum=4)

    def cut(request: bytes) -> None:
        if envelope.read(request).round >= 4:
            raise Unavailable("the link is cut.")

    made.sites[4].cut = cut
    for _ in range(200):
        if made.coordinator.over:
            break
        turn(made.sites[:4])
        with suppress(Unavailable):
            turn(made.sites[4:])
        made.clock.pass_(3)
    assert made.progress.known.stage == "over"
    assert made.progress.known.latest["eve"] < 3 == made.progress.known.latest["ada"]


def test_a_site_pays_when_its_answer_leaves_it_and_not_before(sites: Any) -> None:
    made = sites(declared(privacy=[SECURE, ff.DP(3, 1e-5)]))
    turn(made.sites, 2)
    # nobody has sent a vector: the round may come to nothing and costs nothing
    assert made.spent == []
    made.clock.pass_(200)
    turn(made.sites[:1])
    made.clock.pass_(2)
    made.refusing.add(("dee", "2"))
    for _ in range(40):
        turn(made.sites)
        made.clock.pass_(3)
    rows = made.server.catalog.rounds.all("f@1")
    assert [r.status for r in rows][-2:] == ["done", "aborted"]
    assert rows[-2].survivors == [["ada", "bob", "cyd"]]
    assert "the budget is spent. Nothing was sent." in made.said()
    assert len(made.spent) == len(set(made.spent))


def test_another_definition_is_refused(sites: Any) -> None:
    made = sites(declared(privacy=SECURE), digest="other")
    for site in made.sites:
        site.part._policy = type(site.part._policy)(min_clients=2, min_survivors=2)
    turn(made.sites, 3)
    assert "has definitions 'other', where the declaration here makes it 'd'" in made.said()


def test_a_question_that_the_site_would_not_ask_is_refused(sites: Any) -> None:
    made = sites(declared(privacy=SECURE), theirs=declared(privacy=ff.SecureSum(min_survivors=3), learner=ff.learner("trees", trees=1), strategy=None))
    turn(made.sites, 3)
    assert "the progress is that of another federation" in made.said()
    fewer = sites(declared(privacy=ff.SecureSum(min_survivors=2)), theirs=declared(privacy=SECURE))
    turn(fewer.sites, 3)
    assert "min_survivors 2" in fewer.said()
