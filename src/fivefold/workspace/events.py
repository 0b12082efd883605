"""What a stream worker has taken of a stream: where it stands, and the events it applied, archived or not yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fivefold.core.sources import Stream, Table, View, id_stretch, lateness_of
from fivefold.core.time import SECOND, instant
from fivefold.data.archive import ARRIVED, OFFSET
from fivefold.data.snapshots import Snapshot, part_file, stretch_of
from fivefold.features.kernel.arrays import Ints
from fivefold.features.kernel.arrow import one_array
from fivefold.features.kernel.duplicates import codes_of_ids, first_nearby
from fivefold.features.state.mark import Mark
from fivefold.ports.online import MARK, OnlineStore
from fivefold.workspace.workspace import Workspace

NEVER = -(2**62)
"""Before all event times (µs)."""

UNDER_WAY = 10 * SECOND
"""How old the moment of a look-up may be when it reads the store, other clocks included."""

EVENTS, LETTERS, IDS, REPLAYED = b"a", b"d", b"i", b"r"
"""What the keys of an intake begin with: applied events, dead letters, ids seen, letters that were replayed."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """How far the intake of a stream partition has come, and what became of what it read.

    `read` = `on_time` + `late` + `dead` + `duplicate`. `newest` (µs) is the greatest event time, `archived` the offset
    up to which events are in the archive, `ids_from` the oldest stretch of time of which ids are remembered. `lost`
    counts the offsets that the broker removed before they were read.
    """

    applied: int = -1
    newest: int = NEVER
    read: int = 0
    on_time: int = 0
    late: int = 0
    dead: int = 0
    duplicate: int = 0
    archived: int = -1
    ids_from: int = NEVER
    changes: int = 0
    """Grows with each commit, so that no mark is ever there twice."""
    lost: int = 0


write_standing = msgspec.msgpack.Encoder().encode
read_standing = msgspec.msgpack.Decoder(Standing).decode


def intake_space(stream: str, partition: int) -> str:
    """Where the intake of a stream partition keeps its things: beside the states that it feeds."""
    return f"{stream}#intake/{stream}.{partition}"


def standing_of(store: OnlineStore, stream: str, partition: int) -> Standing | None:
    """How far the intake has come, None before its first commit."""
    (raw,) = store.get([(intake_space(stream, partition), MARK)])
    return None if raw is None else read_standing(raw)


def offset_key(kind: bytes, offset: int) -> bytes:
    """A key that sorts by offset."""
    return kind + offset.to_bytes(8, "big")


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """Events of one commit, as an Arrow stream with the archive's columns; `newest` is the standing's after them."""

    first: int
    newest: int
    events: bytes


write_stored = msgspec.msgpack.Encoder().encode
read_stored = msgspec.msgpack.Decoder(Stored).decode


def to_ipc(table: pa.Table) -> bytes:
    """A table as an Arrow stream, compressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_ipc(data: bytes) -> pa.Table:
    """The table that was written."""
    return pa.ipc.open_stream(data).read_all()


def stored_events(
    store: OnlineStore, stream: str, partition: int, after: int
) -> Iterator[tuple[int, Stored, pa.Table]]:
    """(last offset, what was stored, its events) of each commit behind an offset that is not archived yet.

    Of a commit that reaches across the offset, as after a store lost its newest commits, only what lies behind it.
    """
    start = offset_key(EVENTS, after) if after >= 0 else EVENTS
    for key, value in store.scan(intake_space(stream, partition), start, EVENTS):
        stored = read_stored(value)
        events = from_ipc(stored.events)
        if stored.first <= after:
            stored = msgspec.structs.replace(stored, first=after + 1)
            events = events.filter(pc.greater(events[OFFSET], after))
        yield int.from_bytes(key[1:], "big"), stored, events


def archived_events(workspace: Workspace, stream: Stream, partition: int, after: int) -> Iterator[tuple[int, pa.Table]]:
    """(last offset, events) of each part of the archive that holds events behind an offset, only those."""
    snapshot = workspace.find_snapshot(stream.name)
    for part in snapshot.parts if snapshot else ():
        at = stretch_of(part)
        if at is not None and at.partition == partition and at.last > after:
            table = pq.read_table(part_file(workspace.places.tables, stream.name, part.digest))
            offsets = table[OFFSET].to_numpy()
            yield at.last, table.filter(pa.array(offsets > after))


def archives_of(workspace: Workspace, history: str) -> list[Snapshot]:
    """The archives of the streams whose past a table or view holds."""
    streams = [s for s in workspace.project.of(Stream.kind) if isinstance(s, Stream) and s.history is not None]
    found = [workspace.find_snapshot(s.name) for s in streams if s.history is not None and s.history.name == history]
    return [snapshot for snapshot in found if snapshot is not None]


def without_past(workspace: Workspace, stream: Stream, mark: Mark, events: pa.Table) -> pa.Table:
    """The events that the snapshot of a view's past does not hold already, from files and not from the stream.

    As in history (`features.kernel.duplicates`), a row of the files that counts makes an event of its id a duplicate
    when that is of the same stretch of time or one beside it.
    """
    if stream.id is None or stream.history is None or not events.num_rows:
        return events
    files = _files_of(workspace, stream.history.name, mark.snapshot)
    stretch = id_stretch(stream)
    of = events[stream.time].cast(pa.int64()).to_numpy() // stretch
    first, last = int(of.min()) - 1, int(of.max()) + 1
    while True:
        low, high = max(first * stretch, NEVER), min((last + 1) * stretch, -NEVER)
        held = _rows_of(files, stream, events[stream.id], low, high)
        if not held.num_rows:
            return events
        places = held[stream.time].cast(pa.int64()).to_numpy() // stretch
        # whether a row counts depends on those beside it, so there must be a stretch without any
        if (first < places.min() or low == NEVER) and (places.max() < last or high == -NEVER):
            break
        first, last = first - 2 * (last - first), last + 2 * (last - first)
    counts = first_nearby(codes_of_ids(one_array(held[stream.id])), places)
    known = set(zip(held[stream.id].filter(pa.array(counts)).to_pylist(), places[counts].tolist(), strict=True))
    fresh = [
        known.isdisjoint(((identity, at - 1), (identity, at), (identity, at + 1)))
        for identity, at in zip(events[stream.id].to_pylist(), of.tolist(), strict=True)
    ]
    return events.filter(pa.array(fresh))


def horizon_of(stream: Stream, newest: int) -> int:
    """The earliest moment that states answer for, when the newest event is of a time (µs)."""
    return NEVER if newest == NEVER else newest - lateness_of(stream) - UNDER_WAY


@lru_cache(maxsize=64)
def _files_of(workspace: Workspace, source: str, digest: str) -> list[tuple[Path, int | None]]:
    """The files of a snapshot that no stream brought, each with its newest event time."""
    found = next(n for n in workspace.project.of("table", "view") if n.name == source)
    assert isinstance(found, Table | View)
    assert found.time is not None
    kept = msgspec.convert(workspace.catalog.snapshots.get(source, digest).parts, Snapshot)
    out = []
    for part in kept.parts:
        if stretch_of(part) is None and part.rows:
            newest = part.profile[found.time].greatest if found.time in part.profile else None
            out.append((part_file(workspace.places.tables, source, part.digest), instant(newest) if newest else None))
    return out


def _rows_of(
    files: Sequence[tuple[Path, int | None]], stream: Stream, ids: pa.ChunkedArray, low: int, high: int
) -> pa.Table:
    """Id and time of the rows in files, in source order, that have one of some ids and a time within [low, high)."""
    assert stream.id is not None
    bounds = [pa.scalar(b, pa.timestamp("us")) for b in (low, high)]
    time, wanted = pc.field(stream.time), ids.drop_null().unique()
    wanted = (time >= bounds[0]) & (time < bounds[1]) & pc.field(stream.id).isin(wanted)
    columns = [stream.id, stream.time]
    tables = [
        # a file at a time: the order of rows is the order of the parts
        pq.read_table(file, columns=columns, filters=wanted)
        for file, newest in files
        if newest is None or newest >= low
    ]
    return pa.concat_tables(tables) if tables else pa.table({c: [] for c in columns})


def events_after(
    workspace: Workspace, store: OnlineStore, stream: Stream, partition: int, after: int
) -> Iterator[tuple[int, int, pa.Table]]:
    """(last offset, horizon, events) of all events applied behind an offset, in order: `features.stream.catch_up`."""
    # the store is read first: what an archiver removes from it meanwhile is in the archive by then
    waiting = list(stored_events(store, stream.name, partition, after))
    reached = after
    for last, events in archived_events(workspace, stream, partition, after):
        reached = last
        yield last, NEVER, events
    for last, stored, events in waiting:
        if last > reached:
            yield last, horizon_of(stream, stored.newest), events.filter(pc.greater(events[OFFSET], reached))


def recalled(workspace: Workspace, stream: Stream, partition: int) -> tuple[int, list[tuple[pa.Array, Ints]]]:
    """What an intake must know of the events in the archive: the newest time, and the ids that may come again.

    The ids, none of them null, are given with their stretches of time, part by part.
    """
    newest, held = NEVER, []
    for _, events in archived_events(workspace, stream, partition, -1):
        times = events[stream.time].cast(pa.int64())
        seen = pc.min_element_wise(times, events[ARRIVED].cast(pa.int64()))
        newest = max(newest, pc.max(seen).as_py())
        if stream.id is not None:
            there = events[stream.id].is_valid()
            ids, at = events[stream.id].filter(there), times.filter(there).to_numpy()
            held.append((ids.combine_chunks(), at // id_stretch(stream)))
    return newest, held
