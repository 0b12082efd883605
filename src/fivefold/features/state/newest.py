"""The common case made fast: only `last`, and the newest record of a state answers it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from fivefold.core.types import Type
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.state.keep import left_edge
from fivefold.features.state.key import HEAD, View
from fivefold.features.state.layout import FLAGS, TIME

Quick = tuple[Sequence[Any], Sequence[int | None], Sequence[str]]
"""Values, their times and their statuses, when all are present."""

PRESENT = "present"


class Value(NamedTuple):
    """A feature's value; `time` (µs) is that of the newest row its window saw, None if it saw none.

    `older` is true where it saw none, though the entity has a row older than the window.
    """

    value: Any
    time: int | None
    older: bool


class _Place(NamedTuple):
    flag: int
    at: int
    text: int | None
    """Which of the record's texts it is."""
    is_bool: bool
    aggregate: Aggregate


class Newest:
    """Reads `last` of a view's columns off the newest record that was known at a moment."""

    def __init__(self, view: View, aggregates: Sequence[Aggregate]) -> None:
        layout = view.layout
        self._size = layout.size
        self._record = layout.record.unpack_from
        self._shift = view.keep.agos[0] + view.source.delay
        self._texts = layout.texts
        self._places = []
        for a in aggregates:
            assert a.column is not None
            place = layout.place(a.column, a.type)
            at = layout.first + place
            text = layout.texts.index(at) if a.type is Type.STRING else None
            self._places.append(_Place(1 << place, at, text, a.type is Type.BOOL, a))
        # one record and nothing else: its count, the bytes of texts and of tiles, then the record
        self._alone = struct.Struct("<16xIII" + layout.record.format[1:])
        self._unpack = self._alone.unpack_from
        self._one = HEAD.size + layout.size
        self._flags = sum({p.flag for p in self._places})
        ages = [a.over for a in aggregates if a.over is not None]
        self._oldest = min(ages) + view.keep.agos[0] if ages else 2**63
        at_places = [3 + p.at for p in self._places]
        self._slice = slice(at_places[0], at_places[-1] + 1)
        self._in_a_row = at_places == list(range(at_places[0], at_places[-1] + 1))
        self._order = at_places
        self._count = len(at_places)
        self._statuses = (PRESENT,) * self._count
        # texts, booleans and windows with a hop are left to `of`
        self._plain = not self._texts and not any(p.is_bool or p.aggregate.hop for p in self._places)

    def quick(self, raw: bytes, at: int) -> Quick | None:
        """The features where one record is all there is, and it has all of them; else None."""
        if len(raw) != self._one or not self._plain:
            return None
        found = self._unpack(raw)
        time, flags = found[3], self._flags
        if found[0] != 1 or not at - self._oldest <= time < at - self._shift or found[4] & flags != flags:
            return None
        values = found[self._slice] if self._in_a_row else [found[n] for n in self._order]
        return values, (time,) * self._count, self._statuses

    def of(self, states: Sequence[bytes], at: int) -> list[Value] | None:
        """The features of one entity's states, or None where the general way is needed."""
        newest: tuple[Any, ...] | None = None
        texts: list[bytes] = []
        for raw in states:
            _, _, count, heap, rest = HEAD.unpack_from(raw)
            if rest or not count:
                return None
            end = HEAD.size + count * self._size
            place = end - self._size
            record = self._record(raw, place)
            time = record[TIME]
            if time >= at - self._shift or (count > 1 and self._record(raw, place - self._size)[TIME] == time):
                return None
            if newest is None or time > newest[TIME]:
                newest = record
                # the texts of the newest record are the last of all
                texts = self._texts_of(raw, record, end + heap) if self._texts else texts
            elif time == newest[TIME]:
                return None
        return None if newest is None else [self._value(p, newest, texts, at) for p in self._places]

    def _value(self, place: _Place, record: tuple[Any, ...], texts: list[bytes], at: int) -> Value:
        time = record[TIME]
        if place.aggregate.over is not None and time < left_edge(at, place.aggregate):
            return Value(None, None, True)
        if not record[FLAGS] & place.flag:
            return Value(None, time, False)
        if place.text is not None:
            return Value(texts[place.text].decode(), time, False)
        return Value(bool(record[place.at]) if place.is_bool else record[place.at], time, False)

    def _texts_of(self, raw: bytes, record: tuple[Any, ...], end: int) -> list[bytes]:
        out = []
        for place in reversed(self._texts):
            out.append(raw[end - record[place] : end])
            end -= record[place]
        return out[::-1]
