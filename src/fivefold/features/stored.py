"""Features of views for many rows, read from the online store in one go and made as of one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

import msgspec

from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.time import moment
from fivefold.features.state.key import tile_key
from fivefold.features.state.mark import Mark, read_mark, spaces_of
from fivefold.features.state.newest import ABSENT, EXPIRED, NULL, PRESENT, Part
from fivefold.features.state.value import Values
from fivefold.ports.online import MARK, OnlineStore

ATTEMPTS = 20


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """Which rows a view's values were made of: those of a snapshot, and of its stream up to an offset a partition.

    `space` is the view's name in the store, with its meaning. Of the parts of the snapshot that `pending` lists, by
    place, only the first so many rows.
    """

    space: str
    snapshot: str
    applied: Mapping[int, int]
    pending: tuple[tuple[int, int], ...] = ()


class Reads(Protocol):
    """What tiles are read from."""

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]: ...


class StoredView(NamedTuple):
    """A view as it is read: `key` gives the store's key of a row, `bounded` says which features have a time to live."""

    name: str
    label: str
    key: Callable[[Mapping[str, Any]], bytes]
    values: Values
    bounded: Sequence[bool]
    nothing: Part
    """Of an entity that no row was ever seen of."""
    quick: Callable[[bytes, int], Part | None]
    """`values.quick`, one step nearer."""


class Marks(NamedTuple):
    """What the views' own marks say, read once for each materialisation; `pairs` reads them and those of streams."""

    raw: list[bytes | None]
    marks: list[Mark | None]
    spaces: list[list[str]]
    pairs: list[tuple[str, bytes]]
    simple: bool
    """Every view has one space."""


class StoredFeatures:
    """The stored features of some views. It remembers marks between reads, so that they are compared, not decoded."""

    def __init__(self, views: Sequence[StoredView]) -> None:
        self.views = views
        self.marks = self.told([None] * len(views))
        self._seen: tuple[Marks, list[bytes | None], dict[str, Seen], int] | None = None

    def read(
        self, store: OnlineStore, rows: Sequence[Mapping[str, Any]], at: int
    ) -> tuple[list[list[Part]], dict[str, Seen]]:
        """For each view its part of each row, as of `at` (µs), and what they are made of.

        Raises Invalid for a moment before what the store holds answers for, Unavailable when it never holds still.
        """
        for _ in range(ATTEMPTS):
            found = self._read_one(store, rows[0], at) if len(rows) == 1 else self._read(store, rows, at)
            if found is not None:
                return found
        raise Unavailable("the online store changes faster than it can be read.", hint="Try again.")

    def _read_one(
        self, store: OnlineStore, row: Mapping[str, Any], at: int
    ) -> tuple[list[list[Part]], dict[str, Seen]] | None:
        """The same as `_read` with less around it, for the one row of most requests."""
        marks, views = self.marks, self.views
        if not marks.simple:
            return self._read(store, [row], at)
        pairs = [(spaces[0], view.key(row)) for view, spaces in zip(views, marks.spaces, strict=True)]
        found = store.get(marks.pairs + pairs)
        own = len(views)
        if found[:own] != marks.raw:
            self.marks = self.told(found[:own])
            return None
        seen = self._seen_of(marks, [], at)
        parts: list[list[Part]] = []
        for view, pair, raw in zip(views, pairs, found[own:], strict=True):
            if raw is None:
                parts.append([view.nothing])
            elif (quick := view.quick(raw, at)) is not None:
                parts.append([quick])
            else:
                try:
                    parts.append([self.part(store, view, [pair[0]], pair[1], [raw], at)])
                except Gone:
                    return None
        return parts, seen

    def _read(
        self, store: OnlineStore, rows: Sequence[Mapping[str, Any]], at: int
    ) -> tuple[list[list[Part]], dict[str, Seen]] | None:
        """None when a view was made anew meanwhile, which the next attempt knows."""
        marks = self.marks
        pairs = marks.pairs.copy()
        spots: list[list[int]] = []
        asked: list[list[bytes]] = []
        for view, spaces in zip(self.views, marks.spaces, strict=True):
            if not spaces:
                spots.append([])
                asked.append([])
                continue
            key = view.key
            # an entity that several rows are about is read once
            index: dict[bytes, int] = {}
            spots.append([index.setdefault(key(row), len(index)) for row in rows])
            keys = list(index)
            asked.append(keys)
            for space in spaces:
                pairs += [(space, k) for k in keys]
        found = store.get(pairs)
        own, place = len(self.views), len(marks.pairs)
        if found[:own] != marks.raw:
            self.marks = self.told(found[:own])
            return None
        seen = self._seen_of(marks, found[own:place], at)
        out: list[list[Part]] = []
        try:
            for view, spaces, keys, places in zip(self.views, marks.spaces, asked, spots, strict=True):
                count = len(keys)
                if not spaces:
                    out.append([view.nothing] * len(rows))
                    continue
                parts = [
                    self.part(store, view, spaces, key, found[place + n :: count][: len(spaces)], at)
                    if len(spaces) > 1
                    else view.nothing
                    if (raw := found[place + n]) is None
                    else (view.quick(raw, at) or self.part(store, view, spaces, key, [raw], at))
                    for n, key in enumerate(keys)
                ]
                place += count * len(spaces)
                out.append([parts[i] for i in places])
        except Gone:
            return None
        return out, seen

    def part(
        self,
        store: Reads,
        view: StoredView,
        spaces: Sequence[str],
        key: bytes,
        raws: Sequence[bytes | None],
        at: int,
    ) -> Part:
        """The features of one entity, whatever its state."""
        states = [
            (raw, partial(_tiles, store, space, key))
            for space, raw in zip(spaces, raws, strict=True)
            if raw is not None
        ]
        if not states:
            return view.nothing
        if len(states) == 1 and (quick := view.quick(states[0][0], at)) is not None:
            return quick
        made = view.values.of(states, at)
        statuses = [
            (PRESENT if value is not None else NULL) if time is not None else EXPIRED if older and bounded else ABSENT
            for (value, time, older), bounded in zip(made, view.bounded, strict=True)
        ]
        return [m.value for m in made], [m.time for m in made], statuses

    def told(self, raw: list[bytes | None]) -> Marks:
        marks = [None if r is None else read_mark(r) for r in raw]
        spaces = [spaces_of(v.name, m) if m else [] for v, m in zip(self.views, marks, strict=True)]
        streams = chain.from_iterable(s[1:] for s in spaces)
        return Marks(
            raw,
            marks,
            spaces,
            [*((v.name, MARK) for v in self.views), *((space, MARK) for space in streams)],
            all(len(s) == 1 for s in spaces),
        )

    def _seen_of(self, marks: Marks, streams: list[bytes | None], at: int) -> dict[str, Seen]:
        """What each view's values are made of. Raises Invalid for a moment before what they answer for."""
        known = self._seen
        if known is None or known[0] is not marks or known[1] != streams:
            known = self._seen = (marks, streams, *self.read_streams(marks, streams))
        if at < known[3]:
            self.refuse(marks, streams, at)
        return known[2]

    def read_streams(self, marks: Marks, streams: list[bytes | None]) -> tuple[dict[str, Seen], int]:
        seen: dict[str, Seen] = {}
        for view, mark, its in self._with_streams(marks, streams):
            cut = sorted(mark.cut.items())
            applied = {p: o if m is None else m.applied for (p, o), m in zip(cut, its, strict=True)}
            seen[view.label] = Seen(view.name, mark.snapshot, applied, mark.pending)
        return seen, max((_since(mark, its) for _, mark, its in self._with_streams(marks, streams)), default=-(2**63))

    def refuse(self, marks: Marks, streams: list[bytes | None], at: int) -> None:
        for view, mark, its in self._with_streams(marks, streams):
            if at < (since := _since(mark, its)):
                raise Invalid(
                    f"the feature view {view.label!r} answers for {moment(since)} and later, not for {moment(at)}.",
                    hint="Ask for a later moment; what was known earlier is in history.",
                )

    def _with_streams(
        self, marks: Marks, streams: list[bytes | None]
    ) -> list[tuple[StoredView, Mark, list[Mark | None]]]:
        """The views that hold something, with their marks and those of their streams' partitions."""
        out, place = [], 0
        for view, mark, spaces in zip(self.views, marks.marks, marks.spaces, strict=True):
            if mark is not None:
                count = len(spaces) - 1
                its = [None if m is None else read_mark(m) for m in streams[place : place + count]]
                out.append((view, mark, its))
                place += count
        return out


class Gone(Exception):
    """The rows of a tile were rewritten after the state that names them was read."""


def _since(mark: Mark, streams: Sequence[Mark | None]) -> int:
    return max([mark.since, *(m.since for m in streams if m is not None)])


def _tiles(store: Reads, space: str, key: bytes, refs: Sequence[int]) -> list[bytes]:
    found = store.get([(space, tile_key(key, ref)) for ref in refs])
    if None in found:
        raise Gone
    return [raw for raw in found if raw is not None]
