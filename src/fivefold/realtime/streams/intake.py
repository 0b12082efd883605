"""What becomes of a stream's records: each is applied, a duplicate, or set aside as a dead letter with its reason.

It depends on the records before it in the partition alone, not on how they are read in batches, so that a worker that
was killed and one that was not decide alike. An event is a duplicate when one of the same id came before it whose time
is in the same stretch of time or one beside it; a stretch is a day, or the lateness where that is longer.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa

from fivefold.core.expressions import parse
from fivefold.core.sources import Check, OnFail, Stream, id_stretch, lateness_of
from fivefold.core.time import DAY, iso, moment, spell
from fivefold.core.types import Type
from fivefold.core.values import shown
from fivefold.data.archive import ARRIVED, archive_table
from fivefold.data.payloads import Columns, columns_decoder
from fivefold.features.kernel.arrays import Flags, Ints
from fivefold.features.kernel.arrow import one_array
from fivefold.features.kernel.rows import TIME_LIMIT
from fivefold.ports.streams import Record
from fivefold.realtime.streams.prints import NONE, Prints, joined, prints_of
from fivefold.workspace.events import NEVER, REPLAYED, Standing

AHEAD = DAY
"""An event more than so much (µs) after its own arrival is not believed: it would make all others late."""

REPLAY = "fivefold-replay"
"""The header of a dead letter that is sent again: which one it is."""


class Reason(enum.StrEnum):
    """Why a record is a dead letter."""

    UNDECODABLE = "undecodable"  # its bytes are no event of the stream
    INVALID = "invalid"  # it breaks a check, has no time, or a value that cannot be summed exactly
    IN_FUTURE = "in_future"  # its time is long after its arrival
    TOO_LATE = "too_late"  # it came later after younger events than the stream allows


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """A dead letter: the record as it was, and why. Times are microseconds UTC."""

    offset: int
    reason: str
    message: str
    value: bytes
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    arrived: int
    event_time: int | None = None
    replayed: int | None = None
    """When it was sent again, None before."""


class Taken(NamedTuple):
    """What a batch of records came to: the events to apply, the dead letters, and the new standing.

    To be remembered are `keep`, keys of letters that were sent again, and `ids` by stretch of time.
    """

    events: pa.Table
    letters: list[Letter]
    keep: list[bytes]
    ids: dict[int, Prints]
    standing: Standing


class Known(Protocol):
    """What the intake remembers already."""

    def letters(self, keys: Sequence[bytes]) -> Sequence[bool]:
        """Which of some keys it keeps of letters that were sent again."""
        ...

    def ids(self, stretches: Ints, ids: Prints) -> Flags:
        """Which ids, each with a time in a stretch, were applied with one in that stretch or one beside it."""
        ...


class Intake:
    """The rules of one stream. `limits` gives by column the size from which on a value cannot be summed exactly."""

    def __init__(self, stream: Stream, limits: dict[str, float]) -> None:
        self.lateness = lateness_of(stream)
        self.stretch = id_stretch(stream)
        """How much time (µs) the ids that are dropped together belong to."""
        self._stream = stream
        self._decode = columns_decoder(stream.schema, stream.format)
        columns = list(stream.schema)
        self._time = columns.index(stream.time)
        self._limits = [(columns.index(c), limit) for c, limit in limits.items() if c in columns]
        self._rules = list(_rules(stream, columns))

    def take(self, records: Sequence[Record], standing: Standing, known: Known) -> Taken:
        """Decide on records that follow what the standing has read."""
        # what can be is asked of all events at once: a worker has few microseconds for each
        letters: list[Letter] = []
        read, columns = self._decoded(records, letters)
        table = archive_table(self._stream, columns)
        time = one_array(table[self._stream.time]).cast(pa.int64()).fill_null(TIME_LIMIT).to_numpy()
        at = one_array(table[ARRIVED]).cast(pa.int64()).to_numpy()
        good = self._valid(read, columns, table, time, at, letters)
        good, newest, out_of_order = self._in_time(read, time, at, good, standing.newest, letters)
        fresh, keep, ids = self._fresh(read, table, time, good, known)
        applied, late = int(fresh.sum()), int((fresh & out_of_order).sum())
        letters.sort(key=lambda letter: letter.offset)
        return Taken(
            table if applied == len(read) else table.filter(pa.array(fresh)),
            letters,
            keep,
            ids,
            msgspec.structs.replace(
                standing,
                applied=records[-1].offset if records else standing.applied,
                newest=newest,
                read=standing.read + len(records),
                on_time=standing.on_time + applied - late,
                late=standing.late + late,
                dead=standing.dead + len(letters),
                duplicate=standing.duplicate + int(good.sum()) - applied,
                changes=standing.changes + 1,
            ),
        )

    def oldest_ids(self, newest: int) -> int:
        """The first stretch of time of which ids are remembered, when the newest event is of a time."""
        return NEVER if newest == NEVER else (newest - self.lateness) // self.stretch - 1

    def remembered(self, held: Iterable[tuple[pa.Array, Ints]], oldest: int) -> dict[int, Prints]:
        """By stretch of time, from the oldest on, the ids of events that were applied; given are ids and stretches."""
        out: dict[int, list[Prints]] = {}
        for ids, stretches in held:
            assert self._stream.id is not None
            prints = prints_of(ids, self._stream.schema[self._stream.id])
            for stretch in np.unique(stretches[stretches >= oldest]).tolist():
                out.setdefault(stretch, []).append(prints.take(stretches == stretch))
        return {stretch: joined(parts) for stretch, parts in out.items()}

    def _decoded(self, records: Sequence[Record], letters: list[Letter]) -> tuple[Sequence[Record], Columns]:
        """The records whose bytes are an event, and by column their values, as the archive has them."""
        columns, wrong = self._decode([record.value for record in records])
        if wrong:
            letters += [_letter(records[i], Reason.UNDECODABLE, e.message, None) for i, e in wrong.items()]
            records = [record for i, record in enumerate(records) if i not in wrong]
        return records, [*columns, [record.offset for record in records], [record.at for record in records]]

    def _valid(
        self,
        read: Sequence[Record],
        columns: Columns,
        table: pa.Table,
        time: Ints,
        at: Ints,
        letters: list[Letter],
    ) -> Flags:
        """Which events are as the stream wants them; letters for the others."""
        good = np.ones(len(read), np.bool_)
        suspect = (time <= -TIME_LIMIT) | (time >= TIME_LIMIT) | (time > at + AHEAD)
        for place, limit in self._limits:
            values = one_array(table.column(place))
            sizes = values.fill_null(0).to_numpy()
            suspect |= (sizes >= limit) | (sizes <= -limit)
        events: Iterable[tuple[int, Sequence[Any]]] = enumerate(zip(*columns, strict=True))
        if not self._rules:
            events = ((i, [values[i] for values in columns]) for i in np.flatnonzero(suspect).tolist())
        for i, event in events:
            try:
                self._check(event, read[i].at)
            except _Refused as e:
                letters.append(_letter(read[i], e.reason, e.message, e.event_time))
                good[i] = False
        return good

    def _check(self, event: Sequence[Any], at: int) -> None:
        """Raises _Refused, with what is wrong with an event that arrived at a time."""
        time = event[self._time]
        if time is None:
            raise _Refused(Reason.INVALID, f"the event has no {self._stream.time!r}, which is its time.")
        if not -TIME_LIMIT < time < TIME_LIMIT:
            raise _Refused(Reason.INVALID, f"the event's time is {time} µs (accepted: within ±2^62 µs).")
        if time > at + AHEAD:
            raise _Refused(Reason.IN_FUTURE, f"the event is of {moment(time)}, but arrived at {iso(at)}.", time)
        for name, places, holds in self._rules:
            if holds(*[event[p] for p in places]) is False:
                values = ", ".join(f"{list(self._stream.schema)[p]} = {shown(event[p])}" for p in places)
                raise _Refused(Reason.INVALID, f"it breaks the check {name!r}: {values}.", time)
        for place, limit in self._limits:
            value = event[place]
            if value is not None and abs(value) >= limit:
                column = list(self._stream.schema)[place]
                raise _Refused(
                    Reason.INVALID,
                    f"{column} = {shown(value)} is too large to be summed exactly (accepted: below {limit:g}).",
                    time,
                )

    def _in_time(
        self, read: Sequence[Record], time: Ints, at: Ints, good: Flags, newest: int, letters: list[Letter]
    ) -> tuple[Flags, int, Flags]:
        """Which good events are not too late, the newest time, and which came out of order; letters for the late."""
        # a time that its arrival has not reached yet says nothing of how far the stream is
        seen = np.where(good, np.minimum(time, at), newest)
        before = np.maximum.accumulate(np.insert(seen, 0, newest))
        too_late = good & (time < before[:-1] - self.lateness)
        for i in np.flatnonzero(too_late).tolist():
            own = int(time[i])
            message = (
                f"the event is of {moment(own)}, and one of {moment(int(before[i]))} came before it; "
                f"{spell(self.lateness)} late is allowed."
            )
            letters.append(_letter(read[i], Reason.TOO_LATE, message, own))
        return good & ~too_late, int(before[-1]), time < before[:-1]

    def _fresh(
        self, read: Sequence[Record], table: pa.Table, time: Ints, good: Flags, known: Known
    ) -> tuple[Flags, list[bytes], dict[int, Prints]]:
        """Which good events were not there before; the keys and ids by which they are known from now on."""
        letters = {i: _replays(record) for i, record in enumerate(read) if record.headers}
        fresh, keep = good.copy(), list[bytes]()
        places, prints = self._prints(table, good)
        stretches = time[places] // self.stretch
        fresh[places[known.ids(stretches, prints)]] = False
        if any(letters.values()):
            asked = [key for keys in letters.values() for key in keys]
            seen = set(compress(asked, known.letters(asked)))
            in_turn = np.flatnonzero(good)
        else:
            seen, in_turn = set(), places[_repeated(prints)]
        if len(in_turn):
            # what is there twice in a batch counts the first time, if that is applied
            names = dict(zip(places.tolist(), zip(stretches.tolist(), *prints.lists(), strict=True), strict=True))
            taken = set[tuple[int, int, int]]()
            for i in in_turn[fresh[in_turn]].tolist():
                mine, name = letters.get(i, ()), names.get(i)
                beside = () if name is None else tuple((name[0] + n, *name[1:]) for n in (-1, 0, 1))
                if seen.isdisjoint(mine) and taken.isdisjoint(beside):
                    seen.update(mine)
                    keep += mine
                    taken.update(beside[1:2])
                else:
                    fresh[i] = False
        new = fresh[places]
        applied, prints = stretches[new], prints.take(new)
        return fresh, keep, {s: prints.take(applied == s) for s in np.unique(applied).tolist()}

    def _prints(self, table: pa.Table, good: Flags) -> tuple[Ints, Prints]:
        """Which good events have an id, and its fingerprint."""
        if self._stream.id is None:
            return np.zeros(0, np.int64), NONE
        ids = one_array(table[self._stream.id])
        have = good & ids.is_valid().to_numpy(zero_copy_only=False) if ids.null_count else good
        chosen = ids if have.all() else ids.filter(pa.array(have))
        return np.flatnonzero(have), prints_of(chosen, self._stream.schema[self._stream.id])


class _Refused(Exception):
    def __init__(self, reason: Reason, message: str, event_time: int | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.event_time = reason, message, event_time


def _repeated(prints: Prints) -> Ints:
    """The places of those that may be there more than once."""
    order = np.argsort(prints.high, kind="stable")
    in_order = prints.high[order]
    same = in_order[1:] == in_order[:-1]
    return np.sort(order[np.append(same, False) | np.insert(same, 0, False)]) if len(order) else order


def _replays(record: Record) -> tuple[bytes, ...]:
    """The keys of the dead letters that a record is, sent again."""
    return tuple({REPLAYED + value[:64]: None for header, value in record.headers if header == REPLAY})


def _letter(record: Record, reason: Reason, message: str, event_time: int | None) -> Letter:
    return Letter(record.offset, reason, message, record.value, record.key, record.headers, record.at, event_time)


def _rules(stream: Stream, columns: list[str]) -> Iterable[tuple[str, list[int], Callable[..., Any]]]:
    """The checks an event is held to by itself: those that refuse rows."""
    types: dict[str, Type] = dict(stream.schema)
    for item in stream.checks:
        assert isinstance(item, Check)
        if item.rule == "row" and item.expression and item.on_fail != OnFail.WARN:
            condition = parse(item.expression, types, item.name)
            yield item.name, [columns.index(c) for c in condition.columns], condition.function()
