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
from fivefold.federated.rounds.gathering import Part
from fivefold.federated.rounds.replay import replay
from fivefold.federated.training import train_together
from fivefold.federated.wire import envelope
from fivefold.models.learners import fit
from fivefold.models.tasks import Task

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


def test_every_round_is_computed_again_from_its_log_to_the_last_bit(sites: Any) -> None:
    made = sites(declared(privacy=[SECURE, ff.DP(3, 1e-5)]))
    made.run()
    for number in range(1, 7):
        again = replay(made.server.catalog.rounds, "f@1", number, made.server.rule, made.server.models, made.server.uploads)
        assert again.same, number


def test_one_site_alone_is_the_learner_fitted_on_its_rows(sites: Any) -> None:
    """No site would take part in such a federation: its questions and answers are here without one."""
    made = sites(declared(strategy=ff.Newton(), rounds=15), count=1)
    progress = made.course.begin()
    while progress.known.stage in ("powers", "moments", "training"):
        question = made.course.question(progress)
        progress = question.after([Part(question.tell(made.rows[0], ones), ("ada",))])
    x, y = made.parts[0]
    alone = fit(ff.learner("logistic"), x, y, task=Task("binary"), names=list("abcd"))
    fitted = made.course.fitted(progress)
    assert fitted is not None
    assert np.abs(fitted.predict(x) - alone.predict(x)).max() < 1e-6


def test_noise_of_the_server_is_paid_for_too(sites: Any) -> None:
    made = sites(declared(privacy=ff.DP(8, 1e-5)))
    assert made.run().known.round == 3
    assert 7 < made.server.catalog.releases.of(ledger_of(made.federation))[-1].epsilon <= 8


def test_an_answer_of_another_kind_spoils_a_round_and_not_the_model(sites: Any) -> None:
    """A site that masks any numbers it likes: what they make of the sum cannot be, so the round is discarded."""
    made = sites(declared(privacy=SECURE))
    for _ in range(60):
        turn(made.sites)
        if made.progress.known.round == 1:
            break
    before = made.progress.sent["parameters"]
    bad = made.sites[0]

    def spoil(manifest: Any, model: Any) -> np.ndarray:
        return np.full(manifest.length, (1 << manifest.bits) - 1, np.uint64)

    bad.part._work = spoil
    number = made.server.catalog.rounds.all("f@1")[0].round
    for _ in range(30):
        turn(made.sites)
        made.clock.pass_(1)
    rows = [r for r in made.server.catalog.rounds.all("f@1") if r.round > number and r.status != "open"]
    assert {r.status for r in rows} == {"aborted"}
    assert all("the sum is uint64 of the shape" in r.error for r in rows)
    assert made.progress.sent["parameters"].tobytes() == before.tobytes()
