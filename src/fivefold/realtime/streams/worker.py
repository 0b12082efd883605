"""A stream partition is read, decided on, and brought into the states of all views it feeds, one commit at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from fivefold.core.sources import Stream
from fivefold.data.archive import OFFSET, archived
from fivefold.features.kernel.arrays import Flags, Ints
from fivefold.features.state.mark import Mark, partition_space, read_mark, write_mark
from fivefold.features.stream import Fed, catch_up, feed
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.streams import Broker
from fivefold.realtime.garbage import uncollected
from fivefold.realtime.streams.ids import Ids
from fivefold.realtime.streams.intake import Intake, Letter
from fivefold.realtime.streams.prints import Prints
from fivefold.workspace import Workspace
from fivefold.workspace.events import (
    EVENTS,
    LETTERS,
    Standing,
    Stored,
    events_after,
    horizon_of,
    intake_space,
    offset_key,
    read_standing,
    recalled,
    to_ipc,
    write_standing,
    write_stored,
)

BATCH = 40_000
"""Records that are read, and committed, at once: when many wait, one flush of the disk, and one new value of each
entity, serve this many."""

SWEEP_SECONDS = 60.0
"""How often old dead letters are looked for."""

_LETTERS_SWEPT = 1000
"""So many dead letters are removed at most in one commit."""

_logger = logging.getLogger("fivefold.streaming")

write_letter = msgspec.msgpack.Encoder().encode
read_letter = msgspec.msgpack.Decoder(Letter).decode


class Live(NamedTuple):
    """A view as it is in use now: its own mark, and the mark of this partition's space as it is written."""

    fed: Fed
    past: Mark
    raw: bytes | None
    since: int


class PartitionWorker:
    """One partition of a stream. It may be killed at any point, and several may be at it: one commit wins.

    Everything of a batch is in one transaction of the store: where the intake stands, the events, the dead letters, the
    ids, and the states of all views. So nothing is applied twice, or lost.
    """

    def __init__(
        self,
        workspace: Workspace,
        stream: Stream,
        partition: int,
        broker: Broker,
        store: OnlineStore,
        views: Sequence[Fed],
        batch: int = BATCH,
        *,
        letters_for: int | None = None,
    ) -> None:
        """`letters_for` (µs) is how long after their arrival dead letters are kept, None for ever."""
        self._workspace, self._stream, self._partition = workspace, stream, partition
        self._broker, self._store, self._views, self._batch = broker, store, views, batch
        limits: dict[str, float] = {}
        for view in views:
            for column, limit in view.limits().items():
                limits[column] = min(limit, limits.get(column, limit))
        self._intake = Intake(stream, limits)
        self._space = intake_space(stream.name, partition)
        self._raw: bytes | None = None
        self._standing = Standing()
        self._ids: Ids
        self._live: list[Live] = []
        self._letters_for, self._sweep_at = letters_for, 0.0
        self.refresh()

    @property
    def standing(self) -> Standing:
        """How far it has come."""
        return self._standing

    def refresh(self) -> None:
        """Read where the partition stands, and bring views that are behind up to it.

        Call it when views were materialised anew, and after a Conflict.
        """
        (raw,) = self._store.get([(self._space, MARK)])
        standing = None if raw is None else read_standing(raw)
        # the mark is read first: what is committed after it makes the next commit of ours a Conflict
        if self._raw is None or standing is None or not _same_ids(standing, self._standing):
            self._ids = Ids(self._store, self._space)
        self._raw = raw
        self._standing = self._begin() if standing is None else standing
        self._pass_over(self._broker.bounds(self._partition)[0])
        live = []
        for one in self._views:
            (raw,) = self._store.get([(one.name, MARK)])
            past = None if raw is None else read_mark(raw)
            if past is None or past.stream != self._stream.name:
                continue  # not materialised yet
            if self._partition not in past.cut:
                # it was added to the topic since: look-ups read what the mark lists
                past = msgspec.structs.replace(past, cut={**past.cut, self._partition: -1})
                self._store.commit([Write(one.name, [], write_mark(past), raw)])
            space = partition_space(one.name, past, self._partition)
            (held,) = self._store.get([(space, MARK)])
            reached = past.cut.get(self._partition, -1) if held is None else read_mark(held).applied
            if reached < self._standing.applied:
                events = events_after(self._workspace, self._store, self._stream, self._partition, reached)
                catch_up(self._store, one, past, self._partition, events)
                (held,) = self._store.get([(space, MARK)])
            since = past.since if held is None else read_mark(held).since
            live.append(Live(one, past, held, since))
        self._live = live

    def step(self, wait: float = 0.0) -> int:
        """Read and apply one batch; returns how many records there were.

        Raises Conflict when another worker is at this partition: `refresh` then, or leave it.
        """
        with uncollected():
            return self._step(wait)

    def outdated(self) -> bool:
        """Whether a view was materialised anew since it was last looked for: `refresh` then."""
        marks = self._store.get([(one.name, MARK) for one in self._views])
        known = {live.fed.name: write_mark(live.past) for live in self._live}
        return any(raw is not None and known.get(v.name) != raw for v, raw in zip(self._views, marks, strict=True))

    def behind(self) -> int:
        """About how many records are waiting."""
        return max(0, self._broker.bounds(self._partition)[1] - self._standing.applied)

    def _step(self, wait: float) -> int:
        records = self._broker.read(self._partition, self._standing.applied, self._batch, wait)
        swept: list[tuple[bytes, bytes | None]] = [(key, None) for key in self._old_letters()]
        if not records:
            if swept:
                self._set(self._standing, swept)
            return 0
        if self._standing.applied < 0 < records[0].offset:
            # a broker that is asked for its first record gives the first that it has
            self._pass_over(min(records[0].offset, self._broker.bounds(self._partition)[0]))
        before = self._standing
        taken = self._intake.take(records, before, _Known(self._store, self._space, self._ids))
        after = msgspec.structs.replace(taken.standing, ids_from=self._intake.oldest_ids(taken.standing.newest))
        items: list[tuple[bytes, bytes | None]] = [(key, b"") for key in taken.keep]
        items += [(offset_key(LETTERS, letter.offset), write_letter(letter)) for letter in taken.letters]
        if taken.events.num_rows:
            stored = Stored(before.applied + 1, after.newest, to_ipc(taken.events))
            items.append((offset_key(EVENTS, after.applied), write_stored(stored)))
        remembered = self._ids.change(taken.ids, after.ids_from)
        items += remembered.items
        items += swept
        writes = [Write(self._space, items, write_standing(after), self._raw)]
        live = []
        for one in self._live:
            horizon = max(one.since, horizon_of(self._stream, after.newest))
            mark = Mark(horizon, one.past.made_of, applied=after.applied)
            events = self._not_in(one, taken.events)
            write = feed(self._store, one.fed, one.past, self._partition, one.raw, mark, events)
            writes.append(write)
            live.append(Live(one.fed, one.past, write.mark, horizon))
        self._store.commit(writes)
        self._standing, self._raw, self._live = after, writes[0].mark, live
        self._ids.made(remembered)
        self._broker.done(self._partition, after.applied)
        return len(records)

    def _begin(self) -> Standing:
        """Where a partition begins that the store knows nothing of: behind what the archive holds of it, if anything.

        The ids of its newest events are remembered again, so that what was applied is known. Where nothing was ever
        read, it begins with the oldest record that there is now: what is gone from then on is lost.
        """
        kept = archived(self._workspace.find_snapshot(self._stream.name), self._stream.name)
        last = kept.get(self._partition, -1)
        if last < 0:
            self._set(Standing(applied=self._broker.bounds(self._partition)[0] - 1))
        else:
            self._go_on(Standing(), last)
        return self._standing

    def _go_on(self, standing: Standing, last: int) -> None:
        """Go on behind the last offset that the archive holds, of which the store knows less."""
        newest, held = recalled(self._workspace, self._stream, self._partition)
        newest = max(newest, standing.newest)
        after = msgspec.structs.replace(
            standing, applied=last, newest=newest, archived=last, ids_from=self._intake.oldest_ids(newest)
        )
        change = self._ids.change(self._intake.remembered(held, after.ids_from), after.ids_from)
        self._set(after, change.items)
        self._ids.made(change)

    def _pass_over(self, oldest: int) -> None:
        """Go on with the oldest record that the broker has, and count those that it removed before they were read."""
        if oldest <= self._standing.applied + 1:
            return
        kept = archived(self._workspace.find_snapshot(self._stream.name), self._stream.name)
        last = kept.get(self._partition, -1)
        if last > self._standing.applied:
            # the store lost its newest commits, and the archive has their events
            self._go_on(self._standing, last)
        first, lost = self._standing.applied + 1, oldest - self._standing.applied - 1
        if lost > 0:
            self._set(msgspec.structs.replace(self._standing, applied=oldest - 1, lost=self._standing.lost + lost))
            _logger.warning(
                "%s, partition %d: the broker removed the records %d to %d before they were read: %d are lost. "
                "Raise its retention, or let more workers run.",
                self._stream.ref,
                self._partition,
                first,
                oldest - 1,
                lost,
            )

    def _set(self, standing: Standing, items: Sequence[tuple[bytes, bytes | None]] = ()) -> None:
        """Commit a standing that no events led to."""
        after = msgspec.structs.replace(standing, changes=standing.changes + 1)
        write = Write(self._space, list(items), write_standing(after), self._raw)
        self._store.commit([write])
        self._standing, self._raw = after, write.mark

    def _not_in(self, one: Live, events: pa.Table) -> pa.Table:
        """The events that a view's snapshot does not hold: it does when a store lost its newest commits."""
        held = one.past.cut.get(self._partition, -1)
        if not events.num_rows or events[OFFSET][0].as_py() > held:
            return events
        return events.filter(pc.greater(events[OFFSET], held))

    def _old_letters(self) -> list[bytes]:
        """Some dead letters that are kept no longer."""
        if self._letters_for is None or time.monotonic() < self._sweep_at:
            return []
        before, out = self._workspace.clock() - self._letters_for, list[bytes]()
        for key, raw in self._store.scan(self._space, prefix=LETTERS):
            if len(out) == _LETTERS_SWEPT:
                return out  # on with the next commit
            if read_letter(raw).arrived >= before:
                break
            out.append(key)
        self._sweep_at = time.monotonic() + SWEEP_SECONDS
        return out


def _same_ids(one: Standing, other: Standing) -> bool:
    """Whether no ids were remembered between two commits: an archiver's change nothing but what is archived."""
    return msgspec.structs.replace(one, archived=other.archived, changes=other.changes) == other


class _Known(NamedTuple):
    """What a partition remembers: of letters the store, of ids what the worker knows of it."""

    store: OnlineStore
    space: str
    seen: Ids

    def letters(self, keys: Sequence[bytes]) -> list[bool]:
        return [raw is not None for raw in self.store.get([(self.space, key) for key in keys])]

    def ids(self, stretches: Ints, ids: Prints) -> Flags:
        return self.seen.near(stretches, ids)
