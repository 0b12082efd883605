"""A server that is killed at any point goes on to what it would have come to; a round can be computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_federation import Adding, expected, turn
from sqlalchemy import delete

from fivefold.catalog.federated_rounds import Rounds
from fivefold.catalog.federated_tables import messages, rounds
from fivefold.core.errors import Conflict, NotFound
from fivefold.federated.rounds import coordinator as coordinators
from fivefold.federated.rounds.replay import replay


class Killed(BaseException):
    """As by kill -9: nothing catches it."""


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts what the server writes, before and after; dies at the n-th when told."""
    counts = {"done": 0, "die_at": 0}

    def step() -> None:
        counts["done"] += 1
        if counts["done"] == counts["die_at"]:
            raise Killed

    def watched(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def call(*given: Any, **more: Any) -> Any:
            step()
            out = inner(*given, **more)
            step()
            return out

        monkeypatch.setattr(owner, name, call)

    for name in ("open", "take", "end_step", "finish", "abort"):
        watched(Rounds, name)
    watched(coordinators.parcels, "put")
    watched(coordinators, "put_blob")
    return counts


STRIDE = 13
"""Writes between deaths: more than any one step of the server needs, else it would never get further."""


def run(server: Any, sites: Any, killer: dict[str, int], first: int = 0) -> int:
    """To the end, restarting the server whenever it dies; gives how often it did."""
    deaths, killer["done"], killer["die_at"] = 0, 0, first
    for _ in range(400):
        for site in sites:
            if server.coordinators["counts"].over:
                killer["die_at"] = 0
                return deaths
            try:
                site.part.turn()
            except Killed:
                deaths, killer["die_at"] = deaths + 1, 0
                server.restart()
                killer["die_at"] = killer["done"] + STRIDE
    raise AssertionError("it never came to an end")


def begin_anew(server: Any, sites: Any) -> None:
    """As if nothing had happened but the enrolment."""
    for folder in (server.folder, *(site.folder for site in sites)):
        for left in folder.rglob("*"):
            if left.is_file() and ({"models", "uploads"} & set(left.parts) or left.name.startswith("rounds-")):
                left.unlink()
    with server.catalog.database.write() as conn:
        conn.execute(delete(messages))
        conn.execute(delete(rounds))
    server.restart()
    for site in sites:
        site.part.close()
        site.start()


def outcome(server: Any) -> Any:
    rows = server.catalog.rounds.all("counts")
    return [(r.round, r.status, r.after, r.survivors) for r in rows], server.coordinators["counts"].state["total"].tolist()


def killed_everywhere(server: Any, sites: Any, killer: dict[str, int], offsets: Iterable[int]) -> None:
    assert run(server, sites, killer) == 0
    wanted, writes = outcome(server), killer["done"]
    assert wanted[1] == expected(["ada", "bob", "cyd", "dee"], range(1, len(wanted[0]) + 1))
    for first in offsets:
        begin_anew(server, sites)
        assert run(server, sites, killer, first) >= writes // STRIDE // 2 > 1
        assert outcome(server) == wanted


MODES = [{}, {"mode": "plain", "policy": {"modes": ("plain",)}, "rounds": 4}, {"length": 400_000}]


@pytest.mark.parametrize("mode", MODES, ids=["secure", "plain", "in chunks"])
def test_killed_again_and_again_it_comes_to_the_same(make: Callable[..., Any], killer: dict[str, int], mode: dict[str, Any]) -> None:
    killed_everywhere(*make(**mode), killer, [2, 7, 12] if not mode else [5])


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES, ids=["secure", "plain", "in chunks"])
def test_killed_at_any_write_it_comes_to_the_same(make: Callable[..., Any], killer: dict[str, int], mode: dict[str, Any], catalog_url: str) -> None:
    killed_everywhere(*make(**mode, url=catalog_url), killer, range(1, STRIDE + 1))


def test_a_round_is_computed_again_from_its_log_to_the_last_bit(make: Callable[..., Any]) -> None:
    server, sites = make(5, cohort=5, quorum=5)
    turn(sites, 20)
    for number in (1, 2):
        again = replay(server.catalog.rounds, "counts", number, Adding(), server.models, server.uploads)
        assert again.same
        assert again.parts[0].vector.tolist() == expected([s.name for s in sites], [number])

    class Other(Adding):
        def step(self, parts: Any, state: Any) -> Any:
            return {**super().step(parts, state), "clients": np.zeros(1, np.int64)}

    assert not replay(server.catalog.rounds, "counts", 1, Other(), server.models, server.uploads).same


@pytest.mark.parametrize("mode", [{"mode": "plain"}, {"mode": "buckets", "buckets": 2, "cohort": 8, "quorum": 8}])
def test_rounds_of_other_modes_are_computed_again_too(make: Callable[..., Any], mode: dict[str, Any]) -> None:
    server, sites = make(mode.get("cohort", 4), **mode, policy={"modes": (mode["mode"],)})
    turn(sites, 20)
    assert replay(server.catalog.rounds, "counts", 2, Adding(), server.models, server.uploads).same


def test_vectors_are_kept_of_the_last_rounds_and_of_none_that_came_to_nothing(make: Callable[..., Any], clock: Any) -> None:
    server, sites = make(length=400_000, rounds=3, replayable=1, seconds=100)
    turn(sites, 30)
    assert len(server.catalog.rounds.all("counts")) == 3
    kept = set(server.uploads.list())
    assert replay(server.catalog.rounds, "counts", 3, Adding(), server.models, server.uploads).same
    for number in (1, 2):
        with pytest.raises(NotFound):
            replay(server.catalog.rounds, "counts", number, Adding(), server.models, server.uploads)
    # four masked vectors of one chunk, and all masks together: 3.2 MB
    assert len(kept) == 4 + 4


def test_a_vector_that_came_in_two_rounds_is_kept_for_the_second(make: Callable[..., Any]) -> None:
    server, sites = make(mode="plain", length=400_000, rounds=3, replayable=2, policy={"modes": ("plain",)})
    for site in sites:
        site.part.close()
        site.start(lambda manifest, model: np.zeros(manifest.length, np.uint64))
    turn(sites, 15)
    assert server.coordinators["counts"].over
    for number in (2, 3):
        assert replay(server.catalog.rounds, "counts", number, Adding(), server.models, server.uploads).same


def test_a_round_that_is_not_done_has_nothing_to_replay(make: Callable[..., Any]) -> None:
    server, sites = make()
    turn(sites, 2)
    with pytest.raises(Conflict, match="round 1 of 'counts' is open"):
        replay(server.catalog.rounds, "counts", 1, Adding(), server.models, server.uploads)


def test_a_site_that_is_killed_drops_out_and_takes_part_in_the_next_round(make: Callable[..., Any], clock: Any) -> None:
    server, sites = make(5, cohort=5, quorum=5, seconds=100)
    turn(sites, 3)
    sites[4].part.close()
    sites[4].start()
    for _ in range(40):
        turn(sites)
        clock.pass_(4)
    first, second = reversed(server.catalog.rounds.all("counts"))
    assert len(first.survivors[0]) in (4, 5)
    assert first.survivors[0][:4] == ["ada", "bob", "cyd", "dee"]
    assert second.survivors == [["ada", "bob", "cyd", "dee", "eve"]]
    # whatever was begun was done once
    assert sites[4].worked == [1, 2]


def test_nothing_secret_is_left_when_a_round_is_over(make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    import fivefold.federated.secure_sum.client as clients

    secrets: set[bytes] = set()
    inner = clients.SumClient.__init__

    def watched(self: Any, *given: Any, random: Any, **more: Any) -> None:
        def noted(count: int) -> bytes:
            drawn: bytes = random(count)
            if count == 32:
                secrets.add(drawn)
            return drawn

        inner(self, *given, random=noted, **more)

    monkeypatch.setattr(clients.SumClient, "__init__", watched)
    server, sites = make(5, cohort=5, quorum=5, length=40)
    turn(sites, 20)
    vectors = [s.work(type("M", (), {"round": r, "length": 40})(), {}) for s in sites for r in (1, 2)]
    secrets |= {v.tobytes() for v in vectors} | {v.astype(np.uint32).tobytes() for v in vectors} | {v[:4].tobytes() for v in vectors}
    assert len(secrets) >= 5 * 2 * 3
    server.catalog.close()
    server.start()
    shares = [e for e in server.catalog.rounds.log("counts", 1) if e.step in (2, 5) and e.sender]
    assert len(shares) == 10
    assert {e.body for e in shares} == {b""}
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        assert not [s for s in secrets if s in data], path
    for site in sites:
        said = " ".join(site.said).encode()
        assert not [s for s in secrets if s.hex().encode() in said]
        assert site.part._outbox is None
    out = "".join(capfd.readouterr())
    assert not [s for s in secrets if s.hex() in out]
