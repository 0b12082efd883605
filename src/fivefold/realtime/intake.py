"""What becomes of a stream's records: each is applied, a duplicate, or set aside as a dead letter with its reason.

It depends on the records before it in the partition alone, not on how they are read in batches, so that a worker that
was killed and one that was not decide alike. An event is a duplicate when one of the same id came before it whose time
is in the same stretch of time or one beside it; a stretch is a day, or the lateness where that is longer.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.expressions import parse
from fivefold.core.sources import Check, OnFail, Stream, lateness_of
from fivefold.core.time import DAY, iso, moment, spell
from fivefold.core.types import Type
from fivefold.core.values import shown
from fivefold.data.archive import archive_table
from fivefold.data.payloads import decoder
from fivefold.features.entity_keys import key_bytes
from fivefold.features.kernel.rows import TIME_LIMIT
from fivefold.ports.streams import Record
from fivefold.workspace.events import NEVER, REPLAYED, Standing, id_key, id_stretch

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
    """What a batch of records came to: the events to apply, the dead letters, marks to keep, and the new standing."""

    events: pa.Table
    letters: list[Letter]
    keep: list[bytes]
    standing: Standing


Known = Callable[[Sequence[bytes]], Sequence[bool]]
"""Which of some keys the intake keeps already."""

_Good = tuple[Record, tuple[Any, ...]]


class Intake:
    """The rules of one stream. `limits` gives by column the size from which on a value cannot be summed exactly."""

    def __init__(self, stream: Stream, limits: dict[str, float]) -> None:
        self.lateness = lateness_of(stream)
        self.stretch = id_stretch(stream)
        """How much time (µs) the ids that are dropped together belong to."""
        self._stream = stream
        self._decode = decoder(stream.schema, stream.format)
        columns = list(stream.schema)
        self._time = columns.index(stream.time)
        self._id = None if stream.id is None else columns.index(stream.id)
        self._limits = [(columns.index(c), limit) for c, limit in limits.items() if c in columns]
        self._rules = list(_rules(stream, columns))

    def take(self, records: Sequence[Record], standing: Standing, known: Known) -> Taken:
        """Decide on records that follow what the standing has read."""
        letters: list[Letter] = []
        good: list[_Good] = []
        for record in records:
            try:
                good.append((record, self._read(record)))
            except _Refused as e:
                letters.append(_letter(record, e.reason, e.message, e.event_time))
        good, late_letters, newest, out_of_order = self._in_time(good, standing.newest)
        letters += late_letters
        fresh, keep = self._fresh(good, known)
        applied = [pair for pair, is_fresh in zip(good, fresh, strict=True) if is_fresh]
        late = sum(is_late and is_fresh for is_late, is_fresh in zip(out_of_order, fresh, strict=True))
        letters.sort(key=lambda letter: letter.offset)
        return Taken(
            self._table(applied),
            letters,
            keep,
            msgspec.structs.replace(
                standing,
                applied=records[-1].offset if records else standing.applied,
                newest=newest,
                read=standing.read + len(records),
                on_time=standing.on_time + len(applied) - late,
                late=standing.late + late,
                dead=standing.dead + len(letters),
                duplicate=standing.duplicate + len(good) - len(applied),
                changes=standing.changes + 1,
            ),
        )

    def oldest_ids(self, newest: int) -> int:
        """The first stretch of time of which ids are remembered, when the newest event is of a time."""
        return NEVER if newest == NEVER else (newest - self.lateness) // self.stretch - 1

    def _read(self, record: Record) -> tuple[Any, ...]:
        """The event of a record. Raises _Refused."""
        try:
            event = self._decode(record.value)
        except Invalid as e:
            raise _Refused(Reason.UNDECODABLE, e.message) from None
        time = event[self._time]
        if time is None:
            raise _Refused(Reason.INVALID, f"the event has no {self._stream.time!r}, which is its time.")
        if not -TIME_LIMIT < time < TIME_LIMIT:
            raise _Refused(Reason.INVALID, f"the event's time is {time} µs (accepted: within ±2^62 µs).")
        if time > record.at + AHEAD:
            raise _Refused(Reason.IN_FUTURE, f"the event is of {moment(time)}, but arrived at {iso(record.at)}.", time)
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
        return event

    def _in_time(self, good: list[_Good], newest: int) -> tuple[list[_Good], list[Letter], int, list[bool]]:
        """The events that are not too late, letters for the others, the newest time, and which came out of order."""
        if not good:
            return [], [], newest, []
        time = np.array([event[self._time] for _, event in good], np.int64)
        # a time that its arrival has not reached yet says nothing of how far the stream is
        seen = np.minimum(time, np.array([record.at for record, _ in good], np.int64))
        before = np.maximum.accumulate(np.insert(seen, 0, newest))
        too_late = (time < before[:-1] - self.lateness).tolist()
        out_of_order = (time < before[:-1]).tolist()
        letters = [
            _letter(
                record,
                Reason.TOO_LATE,
                f"the event is of {moment(event[self._time])}, and one of {moment(int(reached))} came before it; "
                f"{spell(self.lateness)} late is allowed.",
                event[self._time],
            )
            for (record, event), late, reached in zip(good, too_late, before[:-1], strict=True)
            if late
        ]
        kept = [pair for pair, late in zip(good, too_late, strict=True) if not late]
        return kept, letters, int(before[-1]), [o for o, late in zip(out_of_order, too_late, strict=True) if not late]

    def _fresh(self, good: Sequence[_Good], known: Known) -> tuple[list[bool], list[bytes]]:
        """Which events were not there before, and the keys by which they are known from now on."""
        if self._id is None and not any(record.headers for record, _ in good):
            return [True] * len(good), []
        asked = [self._names(record, event) for record, event in good]
        flat = [key for own, others in asked for key in (*own, *others)]
        found = dict(zip(flat, known(flat), strict=True)) if flat else {}
        fresh, keep = [], dict[bytes, None]()
        for own, others in asked:
            there = any(found[key] or key in keep for key in (*own, *others))
            fresh.append(not there)
            if not there:
                keep.update(dict.fromkeys(own))
        return fresh, list(keep)

    def _names(self, record: Record, event: tuple[Any, ...]) -> tuple[list[bytes], list[bytes]]:
        """The keys by which an event is known, and those by which the same id at a time near it would be."""
        own = [REPLAYED + value[:64] for header, value in record.headers if header == REPLAY]
        identity = None if self._id is None else event[self._id]
        if identity is None:
            return own, []
        stretch, name = event[self._time] // self.stretch, key_bytes([identity])
        return [*own, id_key(stretch, name)], [id_key(stretch - 1, name), id_key(stretch + 1, name)]

    def _table(self, applied: Sequence[_Good]) -> pa.Table:
        columns: list[Sequence[Any]] = (
            list(zip(*[event for _, event in applied], strict=True)) if applied else [[] for _ in self._stream.schema]
        )
        columns.append([record.offset for record, _ in applied])
        columns.append([record.at for record, _ in applied])
        return archive_table(self._stream, columns)


class _Refused(Exception):
    def __init__(self, reason: Reason, message: str, event_time: int | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.event_time = reason, message, event_time


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
