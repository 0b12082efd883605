"""States of entities that were read a moment ago, for stores that are far away: what is made of them is made anew.

A state is kept with the marks that were read with it, so that it is said of what it is made, and with the tiles that
were read for it. It is not used beyond its time, nor once a view is known to have been materialised since.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fivefold.core.errors import Unavailable
from fivefold.features.state.newest import Part
from fivefold.features.stored import ATTEMPTS, Gone, Marks, Seen, StoredFeatures, StoredView
from fivefold.ports.online import OnlineStore

MOST_BYTES = 32 << 20
"""What the cache of one endpoint holds, bookkeeping counted in."""
ENTRY_BYTES = 1000
"""What an entry takes besides its states and tiles."""

Key = tuple[Any, ...]
_Pair = tuple[str, bytes]


class Kept:
    """The states of one entity a view, as of the marks that were read with them."""

    __slots__ = ("marks", "raws", "seen", "since", "size", "streams", "tiles", "until")

    def __init__(
        self,
        marks: Marks,
        streams: list[bytes | None],
        raws: list[list[bytes | None]],
        made_of: tuple[dict[str, Seen], int],
    ) -> None:
        self.marks, self.streams, self.raws = marks, streams, raws
        self.seen, self.since = made_of
        self.tiles: dict[_Pair, bytes | None] = {}
        self.until = 0.0
        self.size = ENTRY_BYTES + sum(len(raw) for each in raws for raw in each if raw is not None)


class FeatureCache:
    """States by entity, for `seconds` each from before they were read, in so many bytes; the oldest goes first."""

    def __init__(
        self, seconds: float, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds, self._most, self._clock = seconds, most_bytes, clock
        self._held: OrderedDict[Key, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        self.hits = self.misses = 0

    def until(self) -> float:
        """How long what is asked for now may be used."""
        return self._clock() + self._seconds

    def find(self, keys: Sequence[Key], raw: list[bytes | None]) -> dict[Key, Kept]:
        """What is kept by key, and was read under these marks of views."""
        found: dict[Key, Kept] = {}
        with self._lock:
            now = self._clock()
            for key in keys:
                kept = self._held.get(key)
                if kept is None:
                    continue
                if now < kept.until and kept.marks.raw == raw:
                    found[key] = kept
                else:
                    self._drop(key)
        return found

    def keep(self, kept: Mapping[Key, Kept]) -> None:
        """Keep what was read."""
        with self._lock:
            for key, one in kept.items():
                self._drop(key)
                if one.size <= self._most:
                    self._held[key] = one
                    self.bytes += one.size
            while self.bytes > self._most:
                self._drop(next(iter(self._held)))

    def grow(self, key: Key, kept: Kept, tiles: Mapping[_Pair, bytes | None]) -> None:
        """Keep tiles that were read for a state."""
        size = sum(len(raw) for raw in tiles.values() if raw is not None)
        with self._lock:
            kept.tiles.update(tiles)
            kept.size += size
            if self._held.get(key) is kept:
                self.bytes += size
                if kept.size > self._most:
                    self._drop(key)

    def drop(self, key: Key) -> None:
        """Forget what is kept of an entity."""
        with self._lock:
            self._drop(key)

    def count(self, hits: int, misses: int) -> None:
        """Rows were looked up."""
        with self._lock:
            self.hits += hits
            self.misses += misses

    def counts(self) -> dict[str, int]:
        """Rows whose states were there or had to be read, and the size."""
        return {"hits": self.hits, "misses": self.misses, "entries": len(self._held), "bytes": self.bytes}

    def _drop(self, key: Key) -> None:
        gone = self._held.pop(key, None)
        if gone is not None:
            self.bytes -= gone.size


class RecentFeatures:
    """Stored features of some views through a cache."""

    def __init__(self, stored: StoredFeatures, cache: FeatureCache) -> None:
        self._stored, self._cache = stored, cache
        self._named = tuple(v.name for v in stored.views)

    def read(
        self, store: OnlineStore, rows: Sequence[Mapping[str, Any]], at: int
    ) -> tuple[list[list[Part]], list[dict[str, Seen]]]:
        """For each view its part of each row, as of `at` (µs), and for each row what its values are made of.

        Raises Invalid for a moment before what the store holds answers for, Unavailable when it never holds still.
        """
        views = self._stored.views
        keys: list[Key] = [(self._named, *[v.key(row) for v in views]) for row in rows]
        for _ in range(ATTEMPTS):
            found = self._cache.find(keys, self._stored.marks.raw)
            missing = [key for key in dict.fromkeys(keys) if key not in found]
            if missing:
                fresh = self._fetch(store, missing)
                if fresh is None:
                    continue
                found |= fresh
            try:
                parts = [self._parts(store, key, found[key], at) for key in keys]
            except Gone:
                continue
            self._cache.count(len(keys) - len(missing), len(missing))
            return [list(column) for column in zip(*parts, strict=True)], [found[key].seen for key in keys]
        raise Unavailable("the online store changes faster than it can be read.", hint="Try again.")

    def _fetch(self, store: OnlineStore, keys: Sequence[Key]) -> dict[Key, Kept] | None:
        """The states of entities in one read; None when a view was made anew, which the next attempt knows."""
        stored, until = self._stored, self._cache.until()
        marks = stored.marks
        asked = dict.fromkeys(
            (space, key[1 + n]) for key in keys for n, spaces in enumerate(marks.spaces) for space in spaces
        )
        raw = store.get([*marks.pairs, *asked])
        own, place = len(stored.views), len(marks.pairs)
        if raw[:own] != marks.raw:
            stored.marks = stored.told(raw[:own])
            return None
        states = dict(zip(asked, raw[place:], strict=True))
        streams = raw[own:place]
        made_of = stored.read_streams(marks, streams)
        fresh = {}
        for key in keys:
            raws = [[states[space, key[1 + n]] for space in spaces] for n, spaces in enumerate(marks.spaces)]
            fresh[key] = Kept(marks, streams, raws, made_of)
            fresh[key].until = until
        self._cache.keep(fresh)
        return fresh

    def _parts(self, store: OnlineStore, key: Key, kept: Kept, at: int) -> list[Part]:
        if at < kept.since:
            self._stored.refuse(kept.marks, kept.streams, at)
        tiles = _Tiles(store, self._cache, key, kept)
        views = enumerate(zip(self._stored.views, kept.marks.spaces, kept.raws, strict=True))
        try:
            return [self._part(tiles, view, spaces, key[1 + n], raws, at) for n, (view, spaces, raws) in views]
        except Gone:
            # its tiles were rewritten: it is of no use any more
            self._cache.drop(key)
            raise

    def _part(
        self, tiles: _Tiles, view: StoredView, spaces: Sequence[str], key: bytes, raws: list[bytes | None], at: int
    ) -> Part:
        return self._stored.part(tiles, view, spaces, key, raws, at) if spaces else view.nothing


class _Tiles:
    """Tiles of a state: those read before, else the store's."""

    def __init__(self, store: OnlineStore, cache: FeatureCache, key: Key, kept: Kept) -> None:
        self._store, self._cache, self._key, self._kept = store, cache, key, kept

    def get(self, pairs: Sequence[_Pair]) -> list[bytes | None]:
        """Values of (space, key) pairs, in order; None for what is not there."""
        held = self._kept.tiles
        missing = [pair for pair in pairs if pair not in held]
        if missing:
            self._cache.grow(self._key, self._kept, dict(zip(missing, self._store.get(missing), strict=True)))
        return [held[pair] for pair in pairs]
