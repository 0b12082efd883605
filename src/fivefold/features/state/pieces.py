"""One state, cut as windows need it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fivefold.core.types import Type
from fivefold.features.kernel.arrays import Array, Ints
from fivefold.features.kernel.fixed import LIMIT
from fivefold.features.state.keep import ALWAYS
from fivefold.features.state.key import State, Tile, View, unpack, unpack_rows
from fivefold.features.state.layout import FLAGS, TIME, Rows
from fivefold.features.state.tiles import Slot, Summary

Read = Callable[[Sequence[int]], list[bytes]]
"""Gives the rows of tiles of one state, by their `ref`."""

_SUMS = frozenset({"n", "sum", "squares"})


class Pieces:
    """The tiles and open rows of one entity in one space, of which windows with some edges will be asked for."""

    def __init__(self, view: View, raw: bytes, read: Read, edges: Sequence[tuple[int, int]]) -> None:
        self._view = view
        self._state: State = unpack(view, raw)
        self._read = read
        self._edges = [edge for both in edges for edge in both]
        self._open = _Cut(view, self._state.rows, self._edges)
        self._opened: dict[int, _Cut] = {}
        if self._state.base is not None:
            self.oldest = ALWAYS
        elif self._state.tiles:
            self.oldest = self._state.tiles[0].first
        else:
            self.oldest = int(self._state.rows.words[0, TIME]) if len(self._state.rows) else 2**63 - 1

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
            # of tiles without rows only `last` has a left edge among the rows, and it asks for the newest of them
            if tile.last < right and (left <= tile.first or not tile.ref):
                out.append((tile.states, tile.last))
            else:
                out += self._rows_of(tile).within(left, right, wanted)
        return out + self._open.within(left, right, wanted)

    def _rows_of(self, tile: Tile) -> _Cut:
        if tile.ref not in self._opened:
            assert tile.ref, "a tile without rows is never cut"
            (raw,) = self._read([tile.ref])
            self._opened[tile.ref] = _Cut(self._view, unpack_rows(self._view.layout, raw), self._edges)
        return self._opened[tile.ref]


class _Cut:
    """Rows in order of time, of which several windows want states: sums are differences of running ones."""

    def __init__(self, view: View, rows: Rows, edges: list[int]) -> None:
        self._view = view
        self._rows = rows
        self._time = rows.words[:, TIME]
        # one search for all of them: most of its time is not the searching
        self._places = dict(zip(edges, self._time.searchsorted(edges).tolist(), strict=True)) if len(rows) else {}
        self._running: dict[Slot, Any] = {}

    def within(self, left: int, right: int, wanted: list[int]) -> list[tuple[Summary, int]]:
        """The wanted states of the rows in a window and the newest time; empty where there is no row."""
        time = self._time
        if not len(time):
            return []
        lo, hi = self._places.get(left), self._places[right]
        if lo is None:
            lo = int(time.searchsorted(left))
        if lo >= hi:
            return []
        algebra = self._view.algebra
        states: Summary = [None] * len(algebra.slots)
        others = []
        for place in wanted:
            slot = algebra.slots[place]
            if slot.column < 0:
                states[place] = hi - lo if slot.kind == "rows" else int(time[hi - 1])
            elif slot.kind in _SUMS and (running := self._run(slot)) is not None:
                states[place] = running(lo, hi)
            else:
                others.append(place)
        if others:
            found = algebra.lift(self._view.layout.part(self._rows, lo, hi), others)
            for place in others:
                states[place] = found[place]
        return [(states, int(time[hi - 1]))]

    def _run(self, slot: Slot) -> Callable[[int, int], int] | None:
        """A function from two positions to the sum between; None where a value is out of range, which only matters
        if it is in the window."""
        if slot not in self._running:
            self._running[slot] = self._sums(slot)
        found: Callable[[int, int], int] | None = self._running[slot]
        return found

    def _sums(self, slot: Slot) -> Callable[[int, int], int] | None:
        valid = (self._rows.words[:, FLAGS] >> slot.column) & 1
        if slot.kind == "n":
            return _between(valid) if not valid.all() else lambda lo, hi: hi - lo
        numbers = self._fixed(slot)
        if numbers is None:
            return None
        if slot.kind == "sum":
            return _between(numbers)
        high, low = numbers >> 20, numbers & 0xFFFFF
        squares, crossed, rest = _between(high * high), _between(high * low), _between(low * low)
        return lambda lo, hi: (squares(lo, hi) << 40) + (crossed(lo, hi) << 21) + rest(lo, hi)

    def _fixed(self, slot: Slot) -> Ints | None:
        key = Slot("fixed", slot.column, slot.scale)
        if key not in self._running:
            self._running[key] = self._made_fixed(slot)
        found: Ints | None = self._running[key]
        return found

    def _made_fixed(self, slot: Slot) -> Ints | None:
        layout = self._view.layout
        values: Array = layout.values(self._rows, slot.column)
        # what is null has the word 0
        if layout.columns[slot.column][1] is not Type.FLOAT64:
            return None if ((values >= LIMIT) | (values <= -LIMIT)).any() else values
        with np.errstate(over="ignore"):
            scaled = np.rint(values * math.ldexp(1.0, slot.scale))
        # written so that NaN and infinity, too, are out of range
        return scaled.astype(np.int64) if (np.abs(scaled) < LIMIT).all() else None


def _between(numbers: Ints) -> Callable[[int, int], int]:
    """Sums of stretches: below 2^40 in size, eight million of them fit."""
    running = numbers.cumsum()
    return lambda lo, hi: int(running[hi - 1]) - (int(running[lo - 1]) if lo else 0)
