"""Every record is an event to apply, a duplicate, or a dead letter with its reason; batches change nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.time import DAY, SECOND
from fivefold.data.archive import OFFSET
from fivefold.features.kernel.arrays import Flags, Ints
from fivefold.ports.online import OnlineStore, Write
from fivefold.ports.streams import Record
from fivefold.realtime.streams.ids import Ids
from fivefold.realtime.streams.intake import REPLAY, Intake, Taken
from fivefold.realtime.streams.prints import Prints
from fivefold.workspace.events import NEVER, Standing, write_standing

T = 20_000 * DAY + DAY // 2
SPACE = "s#intake/s.0"
LATE = 60 * SECOND
STREAM = ff.Stream("s", schema={"id": str, "v": float, "n": int}, time="at", id="id", lateness="1m",
                   checks=[ff.check("n < 10", on_fail="quarantine"), ff.check("v > 0", on_fail="warn")])


class Kept:
    """What an intake remembers, as a store would hold it between batches."""

    def __init__(self, stream: ff.Stream = STREAM, limits: dict[str, float] | None = None) -> None:
        self.intake = Intake(stream, limits or {})
        self.standing, self.keys, self.offset = Standing(), set[bytes](), -1
        self.store = connect(OnlineStore, "memory:")
        self.seen = Ids(self.store, SPACE)
        self.mark: bytes | None = None

    def letters(self, keys: Sequence[bytes]) -> list[bool]:
        return [key in self.keys for key in keys]

    def ids(self, stretches: Ints, ids: Prints) -> Flags:
        return self.seen.near(stretches, ids)

    def take(self, *events: Any, arrived: int = T, headers: tuple[tuple[str, bytes], ...] = ()) -> Taken:
        return self.take_with([(event, headers) for event in events], arrived)

    def take_with(self, events: Sequence[tuple[Any, Any]], arrived: int) -> Taken:
        """Events, each with its headers."""
        records = []
        for event, headers in events:
            self.offset += 1
            raw = event if isinstance(event, bytes) else json.dumps(event).encode()
            records.append(Record(self.offset, raw, None, headers, arrived))
        taken = self.intake.take(records, self.standing, self)
        self.keys.update(taken.keep)
        change = self.seen.change(taken.ids, self.intake.oldest_ids(taken.standing.newest))
        mark = write_standing(taken.standing)
        self.store.commit([Write(SPACE, change.items, mark, self.mark)])
        self.seen.made(change)
        self.mark = mark
        self.standing = taken.standing
        return taken


def event(at: int | None = T, name: str | None = None, v: float | None = 1.0, n: int | None = 1) -> dict[str, Any]:
    return {"at": at, "id": name, "v": v, "n": n}


@pytest.mark.parametrize(("given", "reason"), [
    (b"", "undecodable"), (b"{", "undecodable"), (b"[]", "undecodable"), (b"\xff", "undecodable"),
    (b'{"n": 9223372036854775808, "at": 1}', "undecodable"), (b'{"id": "\\ud800", "at": 1}', "undecodable"),
    (b'{"n": "1", "at": 1}', "undecodable"), (event(None), "invalid"), (event(2**62), "invalid"),
    (event(-(2**62)), "invalid"), (event(n=10), "invalid"), (event(v=8.0), "invalid"), (event(v=-8.0), "invalid"),
    (event(T + DAY + 1), "in_future"),
])
def test_a_record_that_cannot_be_applied_is_a_dead_letter_with_its_bytes(given: Any, reason: str) -> None:
    kept = Kept(limits={"v": 8.0})
    taken = kept.take(event(), given, event())
    assert [(one.offset, str(one.reason)) for one in taken.letters] == [(1, reason)]
    assert taken.letters[0].value == (given if isinstance(given, bytes) else json.dumps(given).encode())
    assert taken.events[OFFSET].to_pylist() == [0, 2]
    assert (taken.standing.read, taken.standing.on_time, taken.standing.dead) == (3, 2, 1)


@pytest.mark.parametrize("given", [event(n=9), event(v=-1.0), event(v=7.999), event(T + DAY), event(None) | {"at": T, "x": 1}])
def test_what_only_warns_or_is_just_within_bounds_is_applied(given: Any) -> None:
    assert Kept(limits={"v": 8.0}).take(given).events.num_rows == 1


def test_lateness_is_allowed_to_the_microsecond() -> None:
    kept = Kept()
    taken = kept.take(event(T), event(T - LATE), event(T - LATE - 1), event(T - 1))
    assert [str(one.reason) for one in taken.letters] == ["too_late"]
    assert taken.letters[0].event_time == T - LATE - 1
    assert (taken.standing.on_time, taken.standing.late, taken.standing.newest) == (1, 2, T)


def test_an_event_ahead_of_its_arrival_makes_no_other_late() -> None:
    kept = Kept()
    assert kept.take(event(T + DAY)).standing.newest == T
    assert not kept.take(event(T - LATE)).letters


def test_the_same_id_is_a_duplicate_in_the_same_day_and_the_next_but_no_later() -> None:
    stream = ff.Stream("s", schema={"id": str, "v": float, "n": int}, time="at", id="id", lateness="30d")
    kept = Kept(stream)
    day = kept.intake.stretch
    base = T // day * day
    kept.take(event(base, "a"), arrived=T)
    found = [kept.take(event(at, "a"), arrived=T + 9 * day).standing.duplicate
             for at in (base, base - 1, base + day - 1, base + 2 * day - 1)]
    assert found == [1, 2, 3, 4]
    assert kept.take(event(base + 2 * day, "a"), arrived=T + 9 * day).events.num_rows == 1


def test_a_null_id_is_never_a_duplicate_and_a_stream_without_ids_has_none() -> None:
    assert Kept().take(event(), event()).standing.duplicate == 0
    stream = ff.Stream("s", schema={"id": str, "v": float, "n": int}, time="at")
    taken = Kept(stream).take(event(name="a"), event(name="a"))
    assert (taken.standing.duplicate, taken.keep, taken.ids) == (0, [], {})


def test_a_dead_letter_sent_again_twice_is_applied_once() -> None:
    stream = ff.Stream("s", schema={"id": str, "v": float, "n": int}, time="at")
    kept = Kept(stream)
    headers = ((REPLAY, b"0/7"),)
    assert kept.take(event(), headers=headers).events.num_rows == 1
    assert kept.take(event(), headers=headers).standing.duplicate == 1


def test_a_record_that_is_too_late_or_a_duplicate_is_not_remembered() -> None:
    kept = Kept()
    kept.take(event(T), event(T - 2 * LATE, "a"))
    assert kept.take(event(T, "a")).events.num_rows == 1
    assert not kept.take(event(T, "a")).ids


def test_of_nothing_read_nothing_is_known() -> None:
    kept = Kept()
    assert kept.intake.oldest_ids(NEVER) == NEVER
    assert kept.take(b"").standing.newest == NEVER


@pytest.mark.parametrize("kind", [str, int])
@pytest.mark.parametrize("seed", range(6))
def test_however_events_are_batched_each_id_counts_once_near_its_time(seed: int, kind: type) -> None:
    chance = random.Random(seed)
    stream = ff.Stream("s", schema={"id": kind, "v": float, "n": int}, time="at", id="id", lateness="3d")
    names: list[Any] = [None, *(range(12) if kind is int else (f"r-{n}" for n in range(12)))]
    start = T // DAY * DAY
    given = []
    for n in range(200):
        at = start + n // 20 * DAY + chance.choice([-2 * DAY, -DAY - 1, -DAY, -1, 0, 1, DAY - 1])
        headers = ((REPLAY, f"0/{chance.randrange(9)}".encode()),) if chance.random() < 0.05 else ()
        given.append((event(at, chance.choice(names)), headers))
    found = []
    for sizes in ([1], [200], [3, 1, 17, 40]):
        kept, rest = Kept(stream), list(given)
        applied, turn = [], 0
        while rest:
            size = sizes[turn % len(sizes)]
            turn += 1
            batch, rest = rest[:size], rest[size:]
            applied += kept.take_with(batch, start + 40 * DAY).events[OFFSET].to_pylist()
        found.append((applied, kept.standing.duplicate, kept.standing.dead))
    assert found[0] == found[1] == found[2] == _by_the_rules(given, 3 * DAY)
    assert found[0][1] > 20


def _by_the_rules(given: Sequence[Any], stretch: int) -> tuple[list[int], int, int]:
    """Offsets applied, how many were duplicates, and how many dead."""
    applied, duplicate, dead, newest = [], 0, 0, NEVER
    seen, letters = set[tuple[int, Any]](), set[bytes]()
    for offset, (one, headers) in enumerate(given):
        name, where, mine = one["id"], one["at"] // stretch, {value for _, value in headers}
        late = one["at"] < newest - stretch
        newest = max(newest, one["at"])
        if late:
            dead += 1
        elif mine & letters or (name is not None and any((where + n, name) in seen for n in (-1, 0, 1))):
            duplicate += 1
        else:
            applied.append(offset)
            letters |= mine
            if name is not None:
                seen.add((where, name))
    return applied, duplicate, dead
