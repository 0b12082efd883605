"""Rounds over lines in memory: who takes part, what is summed, what happens when somebody or something is gone."""

from __future__ import annotations

from typing import Any

import pytest
from small_federation import expected, turn

from fivefold.catalog.federated_rounds import ABORTED, DONE


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
