"""Many rows of many entities into their states at once: joined, sorted and cut apart by numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fivefold.features.kernel.arrays import Flags, Ints
from fivefold.features.state.keep import ALWAYS
from fivefold.features.state.key import (
    HEAD,
    Tidy,
    View,
    pack,
    seq_keys,
    unpack,
)
from fivefold.features.state.layout import TIME, Rows, heap_of

Get = Callable[[Sequence[bytes]], list[bytes | None]]


def applied(
    view: View, keys: Sequence[bytes], entity: Ints, rows: Rows, horizon: int, get: Get
) -> list[tuple[bytes, bytes | None]]:
    """What a view's states become with some rows more: changed values by key, None where nothing is left.

    `entity` says for each row which of the distinct `keys` it is of. `horizon` is the earliest time (µs) that queries
    come for; `get` reads the states as they are.
    """
    held = get(keys)
    fast, slow = _Batch(view, held, entity, rows).split(horizon)
    out: list[tuple[bytes, bytes | None]] = [(keys[k], raw) for k, raw in fast]
    for k, early, late, opened in slow:
        tidy = Tidy(view, keys[k], unpack(view, held[k]), lambda place: get([place])[0])
        tidy.state.rows = opened
        if len(early):
            tidy.merge(early)
        if len(late):
            tidy.insert(late)
        tidy.settle(horizon)
        out.append((keys[k], pack(view, tidy.state)))
        out += tidy.changed.items()
    return out


class _Batch:
    """The open rows of all entities concerned, with the new ones, by entity, time and seq."""

    def __init__(self, view: View, held: Sequence[bytes | None], entity: Ints, new: Rows) -> None:
        self._view = view
        layout, size = view.layout, view.layout.size
        self.count = len(held)
        self.base_end = np.full(self.count, ALWAYS, np.int64)
        self.newest_tile = np.full(self.count, ALWAYS, np.int64)
        self.rests: list[bytes] = [b""] * self.count
        records, heaps, counts = [], [], np.zeros(self.count, np.int64)
        for k, raw in enumerate(held):
            if raw is not None:
                end, newest, count, heap, rest = HEAD.unpack_from(raw)
                cut = HEAD.size + count * size
                records.append(raw[HEAD.size : cut])
                heaps.append(raw[cut : cut + heap])
                counts[k] = count
                if rest:
                    self.base_end[k], self.newest_tile[k] = end, newest
                    self.rests[k] = raw[cut + heap :]
        old = layout.rows(b"".join(records), b"".join(heaps))
        every = layout.join([old, new]) if len(old) else new
        of = np.concatenate([np.repeat(np.arange(self.count), counts), entity])
        time = every.words[:, TIME]
        keys = (time, of) if layout.seq is None else (*seq_keys(layout, every), time, of)
        order = np.lexsort(keys)
        self.of, self.time, self.is_new = of[order], time[order], order >= len(old)
        # records are moved once, when it is known which are kept: of `last` it is few of many
        self._every, self._order = every, order

    def split(self, horizon: int) -> tuple[list[tuple[int, bytes | None]], list[tuple[int, Rows, Rows, Rows]]]:
        """The new states of entities that are done; of the others `_slow`'s rows."""
        view, layout = self._view, self._view.layout
        time = self.time
        late = time <= self.newest_tile[self.of]
        # what comes only now from before the end of what is merged: the stream may be behind the horizon
        early = self.is_new & (time < self.base_end[self.of])
        kept = self._kept(time, horizon) | late | early
        rows, of, time = layout.take(self._every, self._order[kept]), self.of[kept], time[kept]
        early, late = early[kept], late[kept]
        starts = np.searchsorted(of, np.arange(self.count + 1))
        slow = np.zeros(self.count, np.bool_)
        slow[of[late | early]] = True
        slow |= np.diff(starts) > 2 * view.tile_rows
        if view.merged or view.keep.cell is not None:
            unmerged = (time < view.keep.settled_before(horizon)) & (time >= self.base_end[of])
            slow |= np.bincount(of[unmerged], minlength=self.count) >= view.fold_at
        return self._fast(rows, starts, slow), self._slow(rows, starts, slow, early, late)

    def _kept(self, time: Ints, horizon: int) -> Flags:
        """Rows that some query may still tell apart, or that are not merged yet."""
        keep = self._view.keep
        kept = time >= keep.windows_from(horizon)
        if self._view.merged:
            kept |= time >= self.base_end[self.of]
        for edge in keep.last_edges(horizon):
            kept |= time >= edge
            before = np.flatnonzero(time < edge)
            if len(before):
                of = self.of[before]
                newest = before[np.append(of[1:] != of[:-1], True)]
                # all of equal time: which of them is the last depends on the column
                at = np.full(self.count, ALWAYS, np.int64)
                at[self.of[newest]] = time[newest]
                kept |= time == at[self.of]
        return np.asarray(kept)

    def _fast(self, rows: Rows, starts: Ints, slow: Flags) -> list[tuple[int, bytes | None]]:
        size, texts = self._view.layout.size, len(self._view.layout.texts)
        records = memoryview(np.ascontiguousarray(rows.words).tobytes())
        heap, offsets = heap_of(rows.cells)
        cuts = (starts * size).tolist()
        heap_cuts = offsets[starts * texts].tolist()
        counts, ends, tiles = np.diff(starts).tolist(), self.base_end.tolist(), self.newest_tile.tolist()
        out: list[tuple[int, bytes | None]] = []
        write = HEAD.pack
        for k in np.flatnonzero(~slow).tolist():
            rest, count = self.rests[k], counts[k]
            if not count and not rest:
                out.append((k, None))
                continue
            a, b = heap_cuts[k], heap_cuts[k + 1]
            head = write(ends[k], tiles[k], count, b - a, len(rest))
            out.append((k, b"".join((head, records[cuts[k] : cuts[k + 1]], heap[a:b], rest))))
        return out

    def _slow(
        self, rows: Rows, starts: Ints, slow: Flags, early: Flags, late: Flags
    ) -> list[tuple[int, Rows, Rows, Rows]]:
        """Rows to merge that are before the base's end, rows not newer than the last tile, and open rows."""
        take = self._view.layout.take
        out = []
        for k in np.flatnonzero(slow).tolist():
            mine = self._view.layout.part(rows, int(starts[k]), int(starts[k + 1]))
            is_early, is_late = early[starts[k] : starts[k + 1]], late[starts[k] : starts[k + 1]]
            now, behind, opened = (take(mine, np.flatnonzero(which)) for which in (is_early, is_late, ~is_late))
            out.append((k, now, behind, opened))
        return out
