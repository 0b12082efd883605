"""The common case made fast: only `last`, and the newest record of a state answers it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fivefold.core.types import Type
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.state.keep import left_edge
from fivefold.features.state.key import HEAD, View
from fivefold.features.state.layout import FLAGS, TIME

PRESENT, NULL, ABSENT, EXPIRED = "present", "null", "absent", "expired"

Part = tuple[Sequence[Any], Sequence[int | None], Sequence[str]]
"""Values, event times (µs) and statuses of the features of one view, for one entity."""

_MOST_KNOWN = 1024


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
    """Reads `last` of a view's columns off the newest record that was known at a moment.

    `expires` says of each feature whether it has a time to live, so that one that is too old is told from none.
    """

    def __init__(self, view: View, aggregates: Sequence[Aggregate], expires: Sequence[bool]) -> None:
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
        # a state of one record and nothing else: how many records, bytes of texts and of tiles, then the record
        self._alone = struct.Struct("<16xIII" + layout.record.format[1:]).unpack_from
        self._alone_size = HEAD.size + layout.size
        self._flags = sum({p.flag for p in self._places})
        spans = [a.over + a.ago for a in aggregates if a.over is not None]
        self._fresh = min(spans, default=2**63)
        """No window is shorter, so that what is younger is in all of them."""
        self._one_window = len(spans) == len(aggregates) and len(set(spans)) == 1
        self._hops = any(a.hop for a in aggregates)
        at_places = [p.at for p in self._places]
        in_a_row = at_places == list(range(at_places[0], at_places[-1] + 1))
        self._slice = slice(at_places[0], at_places[-1] + 1) if in_a_row else None
        self._alone_slice = slice(3 + at_places[0], 4 + at_places[-1])
        self._count = len(at_places)
        self._present = (PRESENT,) * self._count
        self._gone: Part = (
            (None,) * self._count,
            (None,) * self._count,
            tuple(EXPIRED if e else ABSENT for e in expires),
        )
        self._known: dict[int, tuple[list[int], tuple[str, ...]]] = {}

    def part(self, raw: bytes, at: int) -> Part | None:
        """The features of an entity that has one state, or None where the general way is needed."""
        if self._hops:
            return None
        newest = self._find(raw, at - self._shift)
        if newest is None:
            return None
        record, texts = newest
        time = record[TIME]
        if time < at - self._fresh:
            return self._gone if self._one_window else None
        nulls, statuses = self._nulls(record[FLAGS] & self._flags)
        values = [_plain(p, record[p.at], texts) for p in self._places]
        for n in nulls:
            values[n] = None
        return values, (time,) * self._count, statuses

    def reader(self) -> Callable[[bytes, int], Part | None]:
        """`part`, made of local names alone where columns are numbers: it runs for every entity of every request."""
        if self._texts or self._hops or self._slice is None or any(p.is_bool for p in self._places):
            return self.part
        head, read, size, chosen = HEAD.unpack_from, self._record, self._size, self._slice
        start, shift, fresh, flags = HEAD.size, self._shift, self._fresh, self._flags
        count, nulls_of, general = self._count, self._nulls, self.part
        alone, alone_size, alone_chosen, present = self._alone, self._alone_size, self._alone_slice, self._present

        def part(raw: bytes, at: int) -> Part | None:
            if len(raw) == alone_size:
                found = alone(raw)
                time = found[3]
                if found[0] == 1 and at - fresh <= time < at - shift and found[4] & flags == flags:
                    return found[alone_chosen], (time,) * count, present
                return general(raw, at)
            _, _, records, _, rest = head(raw)
            place, right = start + records * size, at - shift
            while place > start and not rest:
                place -= size
                record = read(raw, place)
                time = record[TIME]
                if time < right:
                    if time < at - fresh or (place > start and read(raw, place - size)[TIME] == time):
                        break
                    if record[FLAGS] & flags == flags:
                        return record[chosen], (time,) * count, present
                    nulls, statuses = nulls_of(record[FLAGS] & flags)
                    values = list(record[chosen])
                    for n in nulls:
                        values[n] = None
                    return values, (time,) * count, statuses
            return general(raw, at)

        return part

    def of(self, states: Sequence[bytes], at: int) -> list[Value] | None:
        """The features of an entity with several states, or None where the general way is needed."""
        newest: tuple[Any, ...] | None = None
        texts: list[bytes] = []
        for raw in states:
            found = self._find(raw, at - self._shift)
            if found is None or (newest is not None and found[0][TIME] == newest[TIME]):
                return None
            if newest is None or found[0][TIME] > newest[TIME]:
                newest, texts = found
        return None if newest is None else [self._value(p, newest, texts, at) for p in self._places]

    def _find(self, raw: bytes, right: int) -> tuple[tuple[Any, ...], list[bytes]] | None:
        """The newest record before a time and its texts; None where tiles, no record or several may be the newest."""
        _, _, count, heap, rest = HEAD.unpack_from(raw)
        if rest or not count:
            return None
        place = HEAD.size + count * self._size
        end = place + heap
        read, size = self._record, self._size
        while place > HEAD.size:
            place -= size
            record = read(raw, place)
            time = record[TIME]
            if time < right:
                if place > HEAD.size and read(raw, place - size)[TIME] == time:
                    return None  # which of them is the last depends on the column
                return record, self._texts_of(raw, record, end) if self._texts else []
            end -= sum(record[t] for t in self._texts)
        return None

    def _nulls(self, flags: int) -> tuple[list[int], tuple[str, ...]]:
        """Which features are null under a record's flags, and the statuses."""
        known = self._known.get(flags)
        if known is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known = {}
            nulls = [n for n, p in enumerate(self._places) if not flags & p.flag]
            statuses = tuple(PRESENT if flags & p.flag else NULL for p in self._places)
            known = self._known[flags] = (nulls, statuses)
        return known

    def _value(self, place: _Place, record: tuple[Any, ...], texts: list[bytes], at: int) -> Value:
        time = record[TIME]
        if place.aggregate.over is not None and time < left_edge(at, place.aggregate):
            return Value(None, None, True)
        if not record[FLAGS] & place.flag:
            return Value(None, time, False)
        return Value(_plain(place, record[place.at], texts), time, False)

    def _texts_of(self, raw: bytes, record: tuple[Any, ...], end: int) -> list[bytes]:
        """The texts of a record, which end at a position."""
        out = []
        for place in reversed(self._texts):
            out.append(raw[end - record[place] : end])
            end -= record[place]
        return out[::-1]


def _plain(place: _Place, value: Any, texts: Sequence[bytes]) -> Any:
    if place.text is not None:
        return texts[place.text].decode()
    return bool(value) if place.is_bool else value
