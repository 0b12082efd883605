"""Rounds over lines in memory: who takes part, what is summed, what happens when somebody or something is gone."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from small_federation import Adding, Site, expected, plan, turn

from fivefold.catalog.federated_rounds import ABORTED, DONE
from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.identity import Unauthenticated
from fivefold.federated.wire import envelope


def total(server: Any) -> list[int]:
    found: list[int] = server.coordinators["counts"].state["total"].tolist()
    return found


def test_two_rounds_of_four_sites_add_up(make: Any, catalog_url: str) -> None:
    server, sites = make(url=catalog_url)
    turn(sites, 20)
    assert server.coordinators["counts"].over
    assert total(server) == expected(["ada", "bob", "cyd", "dee"], [1, 2])
    assert [r.status for r in server.catalog.rounds.all("counts")] == [DONE, DONE]
    assert [site.worked for site in sites] == [[1, 2]] * 4


@pytest.mark.parametrize("mode", [{"mode": "plain"}, {"mode": "buckets", "buckets": 2, "cohort": 8, "quorum": 8}])
def test_the_other_modes_add_up_too(make: Any, mode: dict[str, Any]) -> None:
    count = mode.get("cohort", 4)
    server, sites = make(count, **mode, policy={"modes": (mode["mode"],)})
    turn(sites, 20)
    assert total(server) == expected([s.name for s in sites], [1, 2])
    last = server.catalog.rounds.all("counts")[0]
    assert [len(names) for names in last.survivors] == ([1] * 4 if mode["mode"] == "plain" else [4, 4])


STEPS = {"adverts": 1, "shares": 2, "masked": 3, "consents": 4, "unmask": 5}


@pytest.mark.parametrize("step", STEPS.values(), ids=list(STEPS))
def test_who_drops_out_at_a_step_is_left_behind(make: Any, clock: Any, step: int) -> None:
    server, sites = make(5, cohort=5, quorum=5, rounds=1, seconds=100)

    def cut(request: bytes) -> None:
        if envelope.read(request).step >= step:
            raise Unavailable("the link is cut.")

    sites[4].cut = cut
    for _ in range(20):
        turn(sites[:4])
        with suppress(Unavailable):
            turn(sites[4:])
        clock.pass_(6)
    assert server.coordinators["counts"].over
    names = [s.name for s in sites]
    summed = names if step > 3 else names[:4]
    assert total(server) == expected(summed, [1])
    assert server.catalog.rounds.all("counts")[0].survivors == [summed]


def test_the_clients_work_may_take_most_of_the_round_and_no_more(make: Any, clock: Any) -> None:
    server, sites = make(rounds=1, seconds=100)

    def slow(manifest: Any, model: Any) -> Any:
        clock.pass_(70)
        return sites[0].work(manifest, model)

    sites[0].start(slow)
    turn(sites)
    turn(sites[1:])
    turn(sites, 10)
    assert "step 1 of round 1 is over" in " ".join(sites[0].said)
    assert server.catalog.rounds.all("counts")[-1].survivors == [["bob", "cyd", "dee"]]


def test_with_too_few_left_the_round_is_aborted_and_another_one_succeeds(make: Any, clock: Any) -> None:
    server, sites = make(rounds=1, seconds=100)
    turn(sites, 3)
    clock.pass_(200)
    turn(sites[:2])
    first = server.catalog.rounds.all("counts")[-1]
    assert (first.status, first.after) == (ABORTED, None)
    assert "at least 3 must" in first.error
    clock.pass_(2)
    turn(sites, 15)
    assert [r.status for r in server.catalog.rounds.all("counts")] == [DONE, ABORTED]
    assert total(server) == expected(["ada", "bob", "cyd", "dee"], [2])


def test_after_so_many_rounds_without_a_result_it_gives_up(make: Any, clock: Any) -> None:
    server, sites = make(rounds=1, seconds=100, attempts=2)
    for _ in range(4):
        turn(sites)
        clock.pass_(200)
        turn(sites[:1])
        clock.pass_(2)
    assert server.coordinators["counts"].over
    assert [r.status for r in server.catalog.rounds.all("counts")] == [ABORTED, ABORTED]
    assert total(server) == [0] * 6


def test_a_late_joiner_waits_for_the_next_round(make: Any) -> None:
    server, sites = make(5, cohort=5, quorum=4, rounds=2)
    turn(sites[:4], 3)
    turn(sites, 25)
    first, second = reversed(server.catalog.rounds.all("counts"))
    assert first.survivors == [["ada", "bob", "cyd", "dee"]]
    assert second.survivors == [["ada", "bob", "cyd", "dee", "eve"]]


def test_no_more_than_the_cohort_are_asked_and_who_is_asked_changes(make: Any) -> None:
    server, sites = make(8, cohort=4, quorum=8, min_survivors=3, rounds=6)
    turn(sites, 80)
    chosen = [tuple(r.buckets[0]) for r in server.catalog.rounds.all("counts")]
    assert {len(names) for names in chosen} == {4}
    assert len(set(chosen)) > 1


def test_a_round_does_not_begin_below_its_quorum(make: Any, clock: Any) -> None:
    server, sites = make()
    turn(sites[:3], 10)
    assert server.catalog.rounds.all("counts") == ()
    clock.pass_(60)
    turn(sites[3:], 3)
    assert server.catalog.rounds.all("counts") == ()


def test_a_revoked_site_is_let_in_no_more_and_not_chosen(make: Any) -> None:
    server, sites = make(quorum=3)
    server.catalog.members.revoke("dee", actor="ann")
    with pytest.raises(Unauthenticated, match="'dee' is no member"):
        turn(sites[3:])
    turn(sites[:3], 15)
    assert total(server) == expected(["ada", "bob", "cyd"], [1, 2])


def test_two_federations_at_once_do_not_meet(make: Any, tmp_path: Any) -> None:
    server, sites = make()
    server.plans = (*server.plans, plan(task="others", rounds=1, cohort=3, quorum=3))
    server.restart()
    others = [Site(server, tmp_path / "more", name, "others") for name in ("xia", "yan", "zoe")]
    turn([*sites, *others], 20)
    assert total(server) == expected(["ada", "bob", "cyd", "dee"], [1, 2])
    assert server.coordinators["others"].state["total"].tolist() == expected(["xia", "yan", "zoe"], [1])


def test_a_strategy_that_fails_ends_the_round_and_is_told(make: Any, capsys: Any) -> None:
    class Over(Adding):
        def step(self, parts: Any, state: Any) -> Any:
            raise Invalid("the budget is spent.")

    class Broken(Adding):
        def step(self, parts: Any, state: Any) -> Any:
            return 1 / 0

    server, sites = make(rule=Over(), attempts=1)
    turn(sites, 12)
    assert server.catalog.rounds.all("counts")[0].error == "the budget is spent."
    server.rule = Broken()
    server.plans = (plan(task="broken", attempts=1),)
    server.restart()
    for site in sites:
        site.task = "broken"
        site.part.close()
        site.start()
    with pytest.raises(Unavailable, match="something is wrong at the server"):
        turn(sites, 12)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert server.catalog.rounds.all("broken")[0].error == "the strategy failed: ZeroDivisionError"
