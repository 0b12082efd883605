"""What an intake keeps, read again from store and archive; and which events a view's past holds already."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pyarrow as pa
import pytest

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.time import DAY, MINUTE, SECOND
from fivefold.core.types import Type
from fivefold.data.archive import OFFSET, add_to_archive, archive_schema, archive_table, archived
from fivefold.data.duck import connect as database
from fivefold.data.duck import parquet
from fivefold.data.ingest import Places
from fivefold.data.parts import arrow_schema, write_part
from fivefold.data.snapshots import Part, Snapshot, Stretch, part_file
from fivefold.data.take import profile_of
from fivefold.features.state.mark import Mark
from fivefold.ports.online import OnlineStore, Write
from fivefold.workspace import events as module
from fivefold.workspace.events import (
    EVENTS,
    NEVER,
    UNDER_WAY,
    Standing,
    Stored,
    archived_events,
    archives_of,
    events_after,
    from_ipc,
    horizon_of,
    intake_space,
    offset_key,
    read_standing,
    recalled,
    standing_of,
    stored_events,
    to_ipc,
    without_past,
    write_standing,
    write_stored,
)

T = 20_000 * DAY
PAST = ff.Table("past", "past.csv", time="at", id="id")
STREAM = ff.Stream("s", schema={"id": str}, time="at", id="id", history=PAST, lateness="30m")
SCHEMA = {"at": Type.TIMESTAMP, "id": Type.STRING}


class Place:
    """As much of a workspace as is asked for."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(folder / "tables", folder / "scratch")
        self.kept: dict[str, Snapshot] = {}
        self.project = SimpleNamespace(of=lambda *kinds: [n for n in (PAST, STREAM) if n.kind in kinds])
        self.catalog = SimpleNamespace(snapshots=SimpleNamespace(get=self._get))
        self.store: OnlineStore = connect(OnlineStore, "memory:")

    def _get(self, source: str, digest: str) -> Any:
        assert self.kept[source].digest == digest
        return SimpleNamespace(parts=msgspec.to_builtins(self.kept[source]))

    def find_snapshot(self, source: str) -> Snapshot | None:
        return self.kept.get(source)

    def past(self, *files: list[tuple[str | None, int | None]]) -> Mark:
        """Files of the past, with the ids and times (µs behind T) of their rows."""
        parts = []
        with database(self.places.scratch) as connection:
            for n, rows in enumerate(files):
                at = pa.array([None if t is None else T + t for _, t in rows], pa.int64()).cast(pa.timestamp("us"))
                table = pa.table({"at": at, "id": pa.array([i for i, _ in rows], pa.string())}, arrow_schema(SCHEMA))
                made, count, size = write_part(table.to_reader(), SCHEMA, self.places.tables, "past")
                profile = profile_of(connection, SCHEMA, parquet([part_file(self.places.tables, "past", made)]))
                parts.append(Part(f"{n}.csv", f"{n}", made, count, size, profile=profile))
        self.kept["past"] = Snapshot("past", SCHEMA, tuple(parts))
        return Mark(0, "made", self.kept["past"].digest, stream="s")

    def archive(self, first: int, last: int, table: pa.Table, partition: int = 0) -> None:
        with database(self.places.scratch) as connection:
            self.kept["s"] = add_to_archive(connection, STREAM, self.kept.get("s"),
                                            {partition: (Stretch("s", partition, first, last), table)}, self.places)

    def commit(self, first: int, last: int, table: pa.Table, newest: int = T) -> None:
        space = intake_space("s", 0)
        (raw,) = self.store.get([(space, b"")])
        changes = 0 if raw is None else read_standing(raw).changes + 1
        items = [(offset_key(EVENTS, last), write_stored(Stored(first, newest, to_ipc(table))))]
        self.store.commit([Write(space, items, write_standing(Standing(applied=last, changes=changes)), raw)])


@pytest.fixture
def place(tmp_path: Path) -> Any:
    return Place(tmp_path)


def events(*given: tuple[int, str | None, int]) -> pa.Table:
    """Events of (offset, id, µs behind T), which arrived when they happened."""
    columns = {"at": [T + t for _, _, t in given], "id": [i for _, i, _ in given],
               "__offset": [o for o, _, _ in given], "__arrived": [T + t for _, _, t in given]}
    return archive_table(STREAM, [columns[c] for c in archive_schema(STREAM)])


def some(*offsets: int) -> pa.Table:
    return events(*[(o, f"e{o}", o) for o in offsets])


def numbers(table: pa.Table) -> list[int]:
    return list(table[OFFSET].to_pylist())


def test_keys_sort_by_offset() -> None:
    assert sorted(offset_key(EVENTS, o) for o in (256, 1, 70_000, 255)) == [offset_key(EVENTS, o) for o in (1, 255, 256, 70_000)]


def test_a_table_and_a_standing_come_back_as_they_were(place: Any) -> None:
    table = some(1, 2)
    assert from_ipc(to_ipc(table)).equals(table)
    assert standing_of(place.store, "s", 0) is None
    place.commit(0, 2, table)
    assert standing_of(place.store, "s", 0) == Standing(applied=2)
    # of a store that was written before there was `lost`
    old = msgspec.msgpack.encode(msgspec.to_builtins(Standing(applied=7, changes=3))[:-1])
    assert read_standing(old) == Standing(applied=7, changes=3)


def test_states_answer_from_the_lateness_and_ten_seconds_behind_the_newest_event() -> None:
    assert horizon_of(STREAM, NEVER) == NEVER
    assert UNDER_WAY == 10 * SECOND
    assert horizon_of(STREAM, T) == T - 30 * MINUTE - 10 * SECOND


def test_stored_events_are_those_behind_an_offset_also_within_a_commit(place: Any) -> None:
    place.commit(0, 4, some(1, 4))
    place.commit(5, 9, some(6, 8))
    found = [(last, stored.first, numbers(table)) for last, stored, table in stored_events(place.store, "s", 0, -1)]
    assert found == [(4, 0, [1, 4]), (9, 5, [6, 8])]
    for after, wanted in ((4, [(9, 5, [6, 8])]), (6, [(9, 7, [8])]), (8, [(9, 9, [])]), (9, [])):
        # the commit that an offset ends is over
        found = [(last, stored.first, numbers(table)) for last, stored, table in stored_events(place.store, "s", 0, after)]
        assert [f for f in found if f[0] > after] == wanted


def test_all_that_was_applied_comes_once_from_archive_and_store(place: Any) -> None:
    assert list(events_after(place, place.store, STREAM, 0, -1)) == []
    place.archive(0, 4, some(1, 4))
    place.archive(0, 1, some(0), partition=1)
    place.commit(0, 4, some(1, 4))
    place.commit(5, 9, some(6, 8), newest=T + 9)
    # a commit of which the archive has a part
    place.archive(5, 6, some(6))
    assert archived(place.kept["s"], "s") == {0: 6, 1: 1}
    found = [(last, horizon, numbers(table)) for last, horizon, table in events_after(place, place.store, STREAM, 0, -1)]
    assert found == [(4, NEVER, [1, 4]), (6, NEVER, [6]), (9, horizon_of(STREAM, T + 9), [8])]
    assert [numbers(table) for _, _, table in events_after(place, place.store, STREAM, 0, 3)] == [[4], [6], [8]]
    assert [(last, numbers(t)) for last, t in archived_events(place, STREAM, 1, -1)] == [(1, [0])]


def test_an_intake_recalls_the_newest_time_and_the_ids_that_may_come_again(place: Any) -> None:
    assert recalled(place, STREAM, 0) == (NEVER, [])
    place.archive(0, 3, events((0, "old", -3 * DAY), (1, "a", -DAY), (2, None, 0), (3, "b", 5)))
    newest, ids = recalled(place, STREAM, 0)
    assert newest == T + 5
    found = {name: stretch for names, at in ids for name, stretch in zip(names.to_pylist(), at.tolist(), strict=True)}
    assert found == {"old": T // DAY - 3, "a": T // DAY - 1, "b": T // DAY}


def test_the_archives_of_a_history_are_those_of_its_streams(place: Any) -> None:
    assert archives_of(place, "past") == []
    place.archive(0, 0, some(0))
    assert archives_of(place, "past") == [place.kept["s"]]
    assert archives_of(place, "another") == []


@pytest.mark.parametrize(("files", "given", "fresh"), [
    ([[("a", 0)]], [("a", -DAY), ("a", DAY), ("a", 2 * DAY - 1)], []),
    ([[("a", 0)]], [("a", 2 * DAY), ("a", -DAY - 1), ("b", 0), (None, 0)], [0, 1, 2, 3]),
    ([[("a", DAY - 1)]], [("a", 2 * DAY - 1), ("a", 2 * DAY), ("a", -DAY), ("a", -DAY - 1)], [1, 3]),
    ([[(None, 0), ("a", None)]], [(None, 0), ("a", 0)], [0, 1]),
    # a row that is a duplicate itself makes none of an event
    ([[("a", 0), ("a", DAY)]], [("a", 2 * DAY)], [0]),
    ([[("a", DAY), ("a", 0)]], [("a", 2 * DAY)], []),
    ([[("a", DAY)], [("a", 0)]], [("a", 2 * DAY)], []),
    # whether the row beside it counts is said by one far from it
    ([[("a", n * DAY) for n in range(40)]], [("a", 40 * DAY)], [0]),
    ([[("a", n * DAY) for n in range(41)]], [("a", 41 * DAY)], []),
    ([[("a", n * DAY) for n in range(40, -1, -1)]], [("a", -DAY)], []),
    ([], [("a", 0)], [0]),
])
def test_an_event_is_in_the_past_by_the_rule_of_history(place: Any, files: Any, given: Any, fresh: list[int]) -> None:
    mark = place.past(*files)
    # each by itself as well: which others come with it changes nothing
    whole = events(*[(n, name, t) for n, (name, t) in enumerate(given)])
    assert numbers(without_past(place, STREAM, mark, whole)) == fresh
    for n, (name, t) in enumerate(given):
        assert numbers(without_past(place, STREAM, mark, events((n, name, t)))) == [n] * (n in fresh)


def test_files_whose_rows_are_all_too_old_are_not_read(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = place.past([("a", -9 * DAY)], [("b", 0)])
    read: list[Any] = []
    inner = module.pq.read_table
    monkeypatch.setattr(module.pq, "read_table", lambda file, **more: read.append(file) or inner(file, **more))
    assert numbers(without_past(place, STREAM, mark, events((0, "b", 5), (1, "c", 5)))) == [1]
    assert len(read) == 1


def test_a_history_that_declares_no_id_is_asked_by_the_streams(place: Any) -> None:
    # the features of the stream leave out duplicates by its id, in its past as well
    mark = place.past([("a", 0)])
    undeclared = ff.Stream("s", schema={"id": str}, time="at", id="id", lateness="30m",
                           history=ff.Table("past", "past.csv", time="at"))
    assert numbers(without_past(place, undeclared, mark, events((0, "a", 5), (1, "b", 5)))) == [1]
