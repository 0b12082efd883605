"""The state of one entity in one view: tiles of merged rows in order of time, then the rows that are open.

A tile knows the states of its rows, and where its rows lie as long as a window's edge may fall among them. All rows of
a tile are older than those of the next, and than the open rows. `base` holds the merged states of everything before
`base_end`, for aggregates over all history.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from fivefold.core.types import Type
from fivefold.features.kernel.plan import Source
from fivefold.features.state.keep import ALWAYS, Keep
from fivefold.features.state.layout import TIME, Layout, Rows, heap_of
from fivefold.features.state.tiles import Algebra, Summary, dump, load

TILE_ROWS = 256
"""How many rows a tile is made of; the open rows are at most twice as many and what a window's edges need."""

FOLD_AT = 64
"""So many rows that no edge can cut any more are merged at once."""

HEAD = struct.Struct("<qqIII")  # base_end, newest time in tiles, open rows, bytes of their texts, bytes of the rest

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class View:
    """What is needed to keep and to read the state of one view."""

    def __init__(
        self, source: Source, seq: Type | None = None, tile_rows: int = TILE_ROWS, fold_at: int = FOLD_AT
    ) -> None:
        self.tile_rows, self.fold_at = tile_rows, fold_at
        self.source = source
        self.layout = Layout(source, seq)
        self.keep = Keep(source)
        self.algebra = Algebra(self.layout, source.aggregates)
        self.merged = sorted({p for a in self.keep.merged for p in self.algebra.places(a)})
        """The states that are kept of all history, among them the newest time."""
        if self.merged:
            self.merged.append(self.algebra.newest)


class Tile(msgspec.Struct):
    """Rows from time `first` to `last`; `ref` says where the rows are, 0 that they are not needed any more."""

    first: int
    last: int
    count: int
    ref: int
    states: Summary


class State(msgspec.Struct):
    """One entity's state; see the module."""

    rows: Rows
    base_end: int
    base: Summary | None
    tiles: list[Tile]
    next_ref: int


def tile_key(key: bytes, ref: int) -> bytes:
    """Where the rows of a tile lie; no entity has such a key (see entity_keys)."""
    return key + b"\xc1" + ref.to_bytes(8, "big")


def pack(view: View, state: State) -> bytes | None:
    """A state as bytes; None when there is nothing in it."""
    if not len(state.rows) and state.base is None and not state.tiles:
        return None
    heap, _ = heap_of(state.rows.cells)
    rest = b""
    if state.base is not None or state.tiles:
        tiles = [[t.first, t.last, t.count, t.ref, dump(t.states)] for t in state.tiles]
        rest = _encode([None if state.base is None else dump(state.base), tiles, state.next_ref])
    newest = state.tiles[-1].last if state.tiles else ALWAYS
    head = HEAD.pack(state.base_end, newest, len(state.rows), len(heap), len(rest))
    return b"".join([head, np.ascontiguousarray(state.rows.words).tobytes(), heap, rest])


def unpack(view: View, raw: bytes | None) -> State:
    """The state that was packed; of None the empty one."""
    if raw is None:
        return State(view.layout.nothing, ALWAYS, None, [], 1)
    base_end, _, count, heap, rest = HEAD.unpack_from(raw)
    cut = HEAD.size + count * view.layout.size
    whole = memoryview(raw)
    rows = view.layout.rows(whole[HEAD.size : cut], whole[cut : cut + heap])
    if not rest:
        return State(rows, base_end, None, [], 1)
    slots = view.algebra.slots
    base, tiles, next_ref = _decode(whole[cut + heap :])
    made = [Tile(first, last, n, ref, load(states, slots)) for first, last, n, ref, states in tiles]
    return State(rows, base_end, None if base is None else load(base, slots), made, next_ref)


def pack_rows(rows: Rows) -> bytes:
    """The rows of a tile as bytes."""
    heap, _ = heap_of(rows.cells)
    return len(rows).to_bytes(4, "little") + np.ascontiguousarray(rows.words).tobytes() + heap


def unpack_rows(layout: Layout, raw: bytes) -> Rows:
    """The rows of a tile."""
    cut = 4 + int.from_bytes(raw[:4], "little") * layout.size
    whole = memoryview(raw)
    return layout.rows(whole[4:cut], whole[cut:])


def in_order(layout: Layout, rows: Rows) -> Rows:
    """Rows by time, then seq; equal ones stay as they came."""
    words = rows.words
    if layout.seq is None:
        order = np.argsort(words[:, TIME], kind="stable")
    else:
        order = np.lexsort((*seq_keys(layout, rows), words[:, TIME]))
    return layout.take(rows, order)


def seq_keys(layout: Layout, rows: Rows) -> tuple[Any, Any]:
    """What rows of equal time are sorted by, the least important first: the value of seq, and whether there is one."""
    seqs = layout.seqs(rows)
    if layout.seq is Type.STRING:
        seqs = np.unique(seqs, return_inverse=True)[1]
    return seqs, rows.words[:, 1] >> 62 & 1


class Tidy:
    """What takes one entity at a time: late rows into tiles, new tiles, merging of what no edge can cut."""

    def __init__(self, view: View, key: bytes, state: State, read: Callable[[bytes], bytes | None]) -> None:
        self._view = view
        self._key = key
        self._read = read
        self.state = state
        self.changed: dict[bytes, bytes | None] = {}
        """The rows of tiles that were written anew, or are gone, by key."""

    def merge(self, early: Rows) -> None:
        """Bring rows from before the base's end, that were not there when it was made, into it."""
        state, view = self.state, self._view
        states = view.algebra.lift(early, view.merged)
        state.base = states if state.base is None else view.algebra.merge(state.base, states)

    def insert(self, late: Rows) -> None:
        """Bring rows that are not newer than the last tile into the tiles they belong to."""
        state, layout = self.state, self._view.layout
        if self._view.keep.cell is not None:
            self._into_cells(late, self._view.keep.cell)
            return
        firsts = np.array([t.first for t in state.tiles], np.int64)
        at = np.maximum(np.searchsorted(firsts, late.words[:, TIME], "right") - 1, 0)
        # from the end, so that numbers stay right while tiles are put between
        for number in np.unique(at)[::-1].tolist():
            tile = state.tiles[number]
            here = layout.take(late, np.flatnonzero(at == number))
            rows = in_order(layout, layout.join([self._rows_of(tile), here]))
            self.changed[tile_key(self._key, tile.ref)] = None
            state.tiles[number : number + 1] = self._sealed(rows)

    def settle(self, horizon: int) -> None:
        """Make tiles, merge and drop, for queries that come at the horizon or later."""
        keep, state = self._view.keep, self.state
        settled = keep.settled_before(horizon)
        if keep.cell is not None:
            self._cells(settled, keep.cell)
        elif len(state.rows) > 2 * self._view.tile_rows:
            self._seal(len(state.rows) - self._view.tile_rows)
        if self._view.merged:
            self._fold(settled if keep.cell is None else settled // keep.cell * keep.cell)
        self._drop(horizon)

    def _rows_of(self, tile: Tile) -> Rows:
        place = tile_key(self._key, tile.ref)
        raw = self.changed.get(place) or self._read(place)
        assert raw is not None, "the rows of a tile are written with it"
        return unpack_rows(self._view.layout, raw)

    def _sealed(self, rows: Rows) -> list[Tile]:
        """Tiles of rows in order, each of about as many as a tile has.

        None of them divides rows of equal time, or has rows on both sides of the base's end.
        """
        out = []
        size = self._view.tile_rows
        time = rows.words[:, TIME]
        border = int(np.searchsorted(time, self.state.base_end))
        start = 0
        while start < len(rows):
            end = border if start < border else len(rows)
            stop = int(np.searchsorted(time, time[min(start + size, end) - 1], "right"))
            if end - stop < size // 2:
                stop = end
            part = self._view.layout.part(rows, start, stop)
            ref = self.state.next_ref
            self.state.next_ref += 1
            self.changed[tile_key(self._key, ref)] = pack_rows(part)
            out.append(Tile(int(time[start]), int(time[stop - 1]), stop - start, ref, self._view.algebra.lift(part)))
            start = stop
        return out

    def _seal(self, count: int) -> None:
        """Make tiles of about the `count` oldest open rows."""
        state, layout = self.state, self._view.layout
        time = state.rows.words[:, TIME]
        stop = int(np.searchsorted(time, time[count - 1], "right"))
        state.tiles += self._sealed(layout.part(state.rows, 0, stop))
        state.rows = layout.part(state.rows, stop, len(state.rows))

    def _cells(self, settled: int, cell: int) -> None:
        """Merge open rows of cells that no edge can cut any more."""
        state, layout = self.state, self._view.layout
        stop = int(np.searchsorted(state.rows.words[:, TIME], settled // cell * cell))
        if stop:
            self._into_cells(layout.part(state.rows, 0, stop), cell)
            state.rows = layout.part(state.rows, stop, len(state.rows))

    def _into_cells(self, rows: Rows, cell: int) -> None:
        """Merge rows into one tile a cell, without rows."""
        tiles, algebra = self.state.tiles, self._view.algebra
        time = rows.words[:, TIME]
        bounds = (np.flatnonzero(np.diff(time // cell)) + 1).tolist()
        for start, stop in zip([0, *bounds], [*bounds, len(rows)], strict=True):
            first, last, count = int(time[start]), int(time[stop - 1]), stop - start
            states = algebra.lift(self._view.layout.part(rows, start, stop))
            at = bisect_left(tiles, first // cell, key=lambda tile: tile.first // cell)
            if at == len(tiles) or tiles[at].first // cell != first // cell:
                tiles.insert(at, Tile(first, last, count, 0, states))
                continue
            held = tiles[at]
            states = algebra.merge(held.states, states)
            tiles[at] = Tile(min(held.first, first), max(held.last, last), held.count + count, 0, states)

    def _fold(self, settled: int) -> None:
        """Merge what no right edge can cut any more into the base."""
        state, view = self.state, self._view
        base, end = state.base, state.base_end
        for tile in state.tiles:
            if tile.first < end:
                continue
            if tile.last >= settled:
                break
            states = [s if i in view.merged else None for i, s in enumerate(tile.states)]
            base = states if base is None else view.algebra.merge(base, states)
            end = tile.last + 1
        else:
            time = state.rows.words[:, TIME]
            start, stop = (int(i) for i in np.searchsorted(time, [end, settled]))
            if stop > start:
                states = view.algebra.lift(view.layout.part(state.rows, start, stop), view.merged)
                base = states if base is None else view.algebra.merge(base, states)
            if base is not None:
                end = max(end, settled)
        state.base, state.base_end = base, end

    def _drop(self, horizon: int) -> None:
        """Forget the tiles that neither a window nor `last` sees any more."""
        state, keep = self.state, self._view.keep
        edges = keep.last_edges(horizon)
        start = min([keep.windows_from(horizon), *edges])
        needed = set()
        for edge in edges:
            time = state.rows.words[:, TIME]
            if not (len(time) and time[0] < edge):
                before = [i for i, t in enumerate(state.tiles) if t.first < edge]
                needed.update(before[-1:])
        kept = []
        for i, tile in enumerate(state.tiles):
            if tile.last >= start or i in needed or (self._view.merged and tile.last >= state.base_end):
                kept.append(tile)
            elif tile.ref:
                self.changed[tile_key(self._key, tile.ref)] = None
        state.tiles = kept
