"""The features of one entity at a moment, from its states: those of its history and of each stream partition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import sketch
from fivefold.features.kernel.finish import EXACT_DISTINCT
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.state.keep import ALWAYS, left_edge
from fivefold.features.state.key import HEAD, State, Tile, View, unpack, unpack_rows
from fivefold.features.state.layout import FLAGS, TIME, Rows
from fivefold.features.state.tiles import Summary

Read = Callable[[Sequence[int]], list[bytes]]
"""Gives the rows of tiles of one state, by their `ref`."""


class Value(NamedTuple):
    """A feature's value; `time` (µs) is that of the newest row its window saw, None if it saw none.

    `older` is true where it saw none, though the entity has a row older than the window.
    """

    value: Any
    time: int | None
    older: bool


class _Window(NamedTuple):
    first: Aggregate
    merged: bool
    wanted: list[int]
    features: list[tuple[int, Aggregate, list[int]]]


class Values:
    """Makes the features of a view, or the `wanted` ones by number; made once and used for all its entities."""

    def __init__(self, view: View, wanted: Sequence[int] | None = None) -> None:
        self._view = view
        every = view.source.aggregates
        self._aggregates = every if wanted is None else [every[n] for n in wanted]
        windows: dict[tuple[Any, ...], list[tuple[int, Aggregate, list[int]]]] = {}
        for number, a in enumerate(self._aggregates):
            key = (a.over, a.hop, a.ago, a in view.keep.merged)
            windows.setdefault(key, []).append((number, a, view.algebra.places(a)))
        self._windows = [
            _Window(of[0][1], key[3], sorted({p for _, _, places in of for p in places}), of)
            for key, of in windows.items()
        ]
        self._simple = _Newest(view, self._aggregates) if view.keep.only_last and len(view.keep.agos) == 1 else None

    def of(self, states: Sequence[tuple[bytes, Read]], at: int) -> list[Value]:
        """The features at a time (µs), in their order. Each state comes with its tiles' rows."""
        if self._simple is not None:
            found = self._simple.of([raw for raw, _ in states], at)
            if found is not None:
                return found
        pieces = [_Pieces(self._view, raw, read) for raw, read in states]
        out: list[Any] = [None] * len(self._aggregates)
        for window in self._windows:
            right = at - window.first.ago - self._view.source.delay
            left = left_edge(at, window.first)
            summary, newest, older = self._seen(pieces, window, left, right)
            for number, aggregate, places in window.features:
                value = _FINISH[aggregate.fn](aggregate, [summary[p] for p in places], self._view)
                out[number] = Value(value, newest, older)
        return out

    def _seen(
        self, pieces: Sequence[_Pieces], window: _Window, left: int, right: int
    ) -> tuple[Summary, int | None, bool]:
        """The merged states of all rows in a window, the newest time among them, and whether there are older rows."""
        algebra = self._view.algebra
        summary: Summary = [None] * len(algebra.slots)
        newest: int | None = None
        older = False
        for one in pieces:
            for states, time in one.within(left, right, window.merged, window.wanted):
                for p in window.wanted:
                    summary[p] = algebra.merge_one(p, summary[p], states[p])
                newest = time if newest is None else max(newest, time)
            older = older or one.oldest < min(left, right)
        return summary, newest, older and newest is None


class _Pieces:
    """One state, cut as windows need it."""

    def __init__(self, view: View, raw: bytes, read: Read) -> None:
        self._view = view
        self._state: State = unpack(view, raw)
        self._read = read
        self._time = self._state.rows.words[:, TIME]
        self._opened: dict[int, Rows] = {}
        firsts = [t.first for t in self._state.tiles[:1]] + self._time[:1].tolist()
        self.oldest = min(firsts, default=2**63 - 1) if self._state.base is None else ALWAYS

    def within(self, left: int, right: int, merged: bool, wanted: list[int]) -> list[tuple[Summary, int]]:
        """States and newest time of each piece of a window; with `merged`, the base is the beginning of it."""
        state, out = self._state, []
        if merged and state.base is not None:
            left = state.base_end
            out.append((state.base, int(state.base[self._view.algebra.newest])))
        if right <= left:
            return out
        for tile in state.tiles:
            if tile.last < left or tile.first >= right:
                continue
            if left <= tile.first and tile.last < right:
                out.append((tile.states, tile.last))
            else:
                out += self._cut(self._rows_of(tile), left, right, wanted)
        return out + self._cut(state.rows, left, right, wanted)

    def _cut(self, rows: Rows, left: int, right: int, wanted: list[int]) -> list[tuple[Summary, int]]:
        time = rows.words[:, TIME]
        lo, hi = (int(i) for i in time.searchsorted((left, right)))
        if lo >= hi:
            return []
        part = self._view.layout.part(rows, lo, hi)
        return [(self._view.algebra.lift(part, wanted), int(time[hi - 1]))]

    def _rows_of(self, tile: Tile) -> Rows:
        if tile.ref not in self._opened:
            assert tile.ref, "a tile without rows is never cut"
            (raw,) = self._read([tile.ref])
            self._opened[tile.ref] = unpack_rows(self._view.layout, raw)
        return self._opened[tile.ref]


class _Newest:
    """The common case made fast: only `last`, and the newest record of one state answers it."""

    def __init__(self, view: View, aggregates: Sequence[Aggregate]) -> None:
        layout = view.layout
        self._size = layout.size
        self._record = layout.record.unpack_from
        self._shift = view.keep.agos[0] + view.source.delay
        self._texts = bool(layout.texts)
        plans = []
        for a in aggregates:
            assert a.column is not None
            place = layout.place(a.column, a.type)
            plans.append((1 << place, layout.first + place, a.type is Type.BOOL, a))
        self._plans = plans

    def of(self, states: Sequence[bytes], at: int) -> list[Value] | None:
        """The features, or None where the general way is needed."""
        if self._texts:
            return None
        newest: tuple[Any, ...] | None = None
        for raw in states:
            _, _, count, _, rest = HEAD.unpack_from(raw)
            if rest or not count:
                return None
            place = HEAD.size + (count - 1) * self._size
            record = self._record(raw, place)
            time = record[TIME]
            if time >= at - self._shift or (count > 1 and self._record(raw, place - self._size)[TIME] == time):
                return None
            if newest is None or time > newest[TIME]:
                newest = record
            elif time == newest[TIME]:
                return None
        if newest is None:
            return None
        time, flags = newest[TIME], newest[FLAGS]
        out = []
        for bit, where, is_bool, a in self._plans:
            if a.over is not None and time < left_edge(at, a):
                out.append(Value(None, None, True))
            elif flags & bit:
                out.append(Value(bool(newest[where]) if is_bool else newest[where], time, False))
            else:
                out.append(Value(None, time, False))
        return out


def _count(a: Aggregate, states: list[Any], view: View) -> int:
    return states[0] or 0


def _sum(a: Aggregate, states: list[Any], view: View) -> int | float | None:
    n, total = states
    if not n:
        return None
    if a.type is Type.FLOAT64:
        return float(total) * math.ldexp(1.0, -(a.scale or 0))
    if not -(2**63) <= total < 2**63:
        raise Invalid(f"feature {a.name!r}: a sum does not fit int64.", hint="Declare the column as float64.")
    return int(total)


def _mean(a: Aggregate, states: list[Any], view: View) -> float | None:
    n, total = states
    return float(total) / float(n) * math.ldexp(1.0, -(a.scale or 0)) if n else None


def _std(a: Aggregate, states: list[Any], view: View) -> float | None:
    n, total, squares = states
    if (n or 0) < 2:
        return None
    return math.sqrt(float(n * squares - total * total) / float(n * (n - 1))) * math.ldexp(1.0, -(a.scale or 0))


def _extreme(a: Aggregate, states: list[Any], view: View) -> Any:
    return _of_type(a, states[0])


def _edge(a: Aggregate, states: list[Any], view: View) -> Any:
    return None if states[0] is None else _of_type(a, states[0][2])


def _distinct(a: Aggregate, states: list[Any], view: View) -> int:
    (state,) = states
    if state is None:
        return 0
    if isinstance(state, set):
        return len(state)
    ranks = np.bincount(np.frombuffer(state, np.uint8), minlength=sketch.RANKS + 1)
    return max(EXACT_DISTINCT + 1, int(sketch.estimate(ranks.astype(np.int64)[:, None])[0]))


def _quantile(a: Aggregate, states: list[Any], view: View) -> float | None:
    (buckets,) = states
    if not buckets:
        return None
    n = sum(buckets.values())
    rank = math.floor((a.q or 0.0) * float(n - 1))
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank < 0:
            return float(sketch.bucket_middle(np.array([bucket]))[0])
    raise AssertionError("a rank is below the number of values")


def _top(a: Aggregate, states: list[Any], view: View) -> Any:
    (counts,) = states
    wanted = getattr(a, "k", None) or 1
    if counts is None or len(counts) < wanted:
        return None
    # most frequent first, of equally frequent ones the least value; texts are UTF-8 bytes here
    return _of_type(a, sorted(counts, key=lambda v: (-counts[v], v))[wanted - 1])


def _of_type(a: Aggregate, value: Any) -> Any:
    if value is None:
        return None
    if a.type is Type.STRING:
        return value.decode()
    return bool(value) if a.type is Type.BOOL else value


_FINISH: dict[str, Callable[[Aggregate, list[Any], View], Any]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "min": _extreme,
    "max": _extreme,
    "first": _edge,
    "last": _edge,
    "distinct": _distinct,
    "quantile": _quantile,
    "top": _top,
}
