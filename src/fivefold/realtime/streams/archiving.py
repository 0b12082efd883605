"""Applied events go from the online store into the archive and the stream's history, as Parquet parts."""

from __future__ import annotations

import time

import msgspec
import pyarrow as pa

from fivefold.core.errors import Conflict, Unavailable
from fivefold.core.sources import Stream
from fivefold.core.time import SECOND
from fivefold.data.archive import add_to_archive, archived, with_archives
from fivefold.data.snapshots import Snapshot, Stretch
from fivefold.flow.steps import worker_name
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.workspace import Workspace
from fivefold.workspace.events import (
    EVENTS,
    archives_of,
    intake_space,
    offset_key,
    read_standing,
    stored_events,
    write_standing,
)

LEASE = 15 * SECOND
"""How long the archive stays with a worker that died; it is renewed before each part is recorded."""
_ROWS_A_PART = 1_000_000
_ATTEMPTS = 50


def archive(workspace: Workspace, stream: Stream, store: OnlineStore, partitions: int, *, wait: bool = True) -> int:
    """Archive all events applied so far, and add them to the stream's history; returns how many there were.

    It may be killed at any point: what was written counts only once the archive names it, and is named once. While
    another worker is at it, it is waited for (one that died has it for LEASE), or, without `wait`, left to it. Raises
    Unavailable when it stays taken.
    """
    owner, leases, name = worker_name(), workspace.catalog.leases, f"archive:{stream.name}"
    until = time.monotonic() + 4 * LEASE / SECOND
    while leases.acquire(name, owner, LEASE) is None:
        if not wait:
            return 0
        if time.monotonic() > until:
            raise Unavailable(f"another worker is archiving {stream.ref} all the time.", hint="Try again.")
        time.sleep(0.2)
    try:
        rows = _to_archive(workspace, stream, store, partitions, owner)
        _into_history(workspace, stream)
        _forget(workspace, stream, store, partitions)
        return rows
    finally:
        leases.release(name, owner)


def _to_archive(workspace: Workspace, stream: Stream, store: OnlineStore, partitions: int, owner: str) -> int:
    rows = 0
    while True:
        before = workspace.find_snapshot(stream.name)
        reached = archived(before, stream.name)
        new: dict[int, tuple[Stretch, pa.Table]] = {}
        for partition in range(partitions):
            offsets: list[int] = []
            tables: list[pa.Table] = []
            for last, stored, events in stored_events(store, stream.name, partition, reached.get(partition, -1)):
                offsets += [stored.first, last]
                tables.append(events)
                if sum(t.num_rows for t in tables) >= _ROWS_A_PART:
                    break
            if tables:
                stretch = Stretch(stream.name, partition, offsets[0], offsets[-1])
                new[partition] = (stretch, pa.concat_tables(tables))
        if not new:
            return rows
        with workspace.database() as connection:
            made = add_to_archive(connection, stream, before, new, workspace.places)
        if workspace.catalog.leases.acquire(f"archive:{stream.name}", owner, LEASE) is None:
            raise Conflict(f"another worker took the archive of {stream.ref} over.", hint="It goes on with it.")
        _record(workspace, made, before)
        rows += sum(table.num_rows for _, table in new.values())


def _into_history(workspace: Workspace, stream: Stream) -> None:
    """Bring the history's snapshot up to the archive."""
    if stream.history is None:
        return
    history = stream.history.name
    for _ in range(_ATTEMPTS):
        before = workspace.find_snapshot(history)
        if before is None:
            return  # nothing was applied yet: `apply` will add it
        with workspace.database() as connection:
            made = with_archives(connection, before, archives_of(workspace, history), before, workspace.places)
        try:
            _record(workspace, made, before)
            return
        except Conflict:
            continue  # an `apply` was faster, whose files must stay


def _record(workspace: Workspace, made: Snapshot, before: Snapshot | None) -> None:
    """Record a snapshot made of the one before. Raises Conflict when that is not the latest any more."""
    workspace.catalog.snapshots.record(
        made.source,
        made.digest,
        msgspec.to_builtins(made),
        actor=workspace.actor,
        follows=before.digest if before else "",
    )


def _forget(workspace: Workspace, stream: Stream, store: OnlineStore, partitions: int) -> None:
    """Remove from the store what the archive holds."""
    reached = archived(workspace.find_snapshot(stream.name), stream.name)
    for partition in range(partitions):
        space, until = intake_space(stream.name, partition), reached.get(partition, -1)
        for _ in range(_ATTEMPTS):
            (raw,) = store.get([(space, MARK)])
            if raw is None or until < 0:
                break  # nothing of this partition is archived
            standing = read_standing(raw)
            gone: list[tuple[bytes, bytes | None]] = []
            for key, _ in store.scan(space, prefix=EVENTS):
                if key > offset_key(EVENTS, until):
                    break
                gone.append((key, None))
            if not gone and standing.archived == until:
                break
            after = msgspec.structs.replace(standing, archived=until, changes=standing.changes + 1)
            try:
                store.commit([Write(space, gone, write_standing(after), raw)])
                break
            except Conflict:
                continue  # the worker was faster
