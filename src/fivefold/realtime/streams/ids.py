"""The ids that a stream partition has applied, by stretch of time: fingerprints in runs, each one value of the store.

Each commit writes the ids of a stretch as one run, and makes one of runs that are about as long, so there are few. A
filter of each stretch says of most ids that they are in no run without asking the store. What is known here, is known
as of one commit: who commits says so (`made`), and who finds that another one did begins with `Ids` anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fivefold.features.kernel.arrays import Flags, Ints
from fivefold.ports.online import OnlineStore
from fivefold.ports.spaces import changed
from fivefold.realtime.streams.prints import SIZE, Prints, among, joined, pack, unpack
from fivefold.workspace.events import IDS

LONGEST_RUN = 1 << 16
"""Ids of the longest run that is made of others: a megabyte."""

SMALLEST_FILTER, LARGEST_FILTER = 1 << 20, 1 << 27
"""Bits of a filter; the largest has 16 megabytes, and serves some eight million ids of a stretch well."""

BITS_AN_ID = 16
"""So many bits of a filter an id has at least, until it is the largest: of 400 new ids one is asked for in vain."""

_BEFORE_ALL = 2**63


class Run(NamedTuple):
    """Which run of a stretch it is, and how many ids it has."""

    number: int
    ids: int


class Change(NamedTuple):
    """What ids more, and stretches less, are to the store, and to who knows the ids."""

    items: list[tuple[bytes, bytes | None]]
    runs: dict[int, list[Run]]
    fresh: Mapping[int, Prints]


class Ids:
    """What a space of the store knows of ids as of now; see the module."""

    def __init__(self, store: OnlineStore, space: str) -> None:
        self._store, self._space = store, space
        self._runs: dict[int, list[Run]] = {}
        self._filters: dict[int, _Filter] = {}
        for key, value in store.scan(space, prefix=IDS):
            stretch, number = _read_key(key)
            self._runs.setdefault(stretch, []).append(Run(number, len(value) // SIZE))

    def near(self, stretches: Ints, prints: Prints) -> Flags:
        """Which ids, each with a time in a stretch, are known of that stretch or one beside it."""
        out = np.zeros(len(prints), np.bool_)
        for stretch in np.unique(stretches).tolist():
            mine = np.flatnonzero(stretches == stretch)
            for beside in (stretch - 1, stretch, stretch + 1):
                if beside in self._runs:
                    out[mine] |= self._known(beside, prints.take(mine))
        return out

    def change(self, fresh: Mapping[int, Prints], oldest: int) -> Change:
        """What becomes of the ids when there are some more of a stretch, and none of stretches before the oldest."""
        items: list[tuple[bytes, bytes | None]] = []
        runs = {stretch: list(held) for stretch, held in self._runs.items() if stretch >= oldest}
        for stretch, held in self._runs.items():
            if stretch < oldest:
                items += [(run_key(stretch, run.number), None) for run in held]
        for stretch, prints in fresh.items():
            held = runs.setdefault(stretch, [])
            number = held[-1].number + 1 if held else 1
            count, join = len(prints), list[Run]()
            while held and held[-1].ids < 2 * count and held[-1].ids + count <= LONGEST_RUN:
                join.append(held.pop())
                count += join[-1].ids
            keys = [run_key(stretch, run.number) for run in join]
            items += [(key, None) for key in keys]
            items.append((run_key(stretch, number), pack(joined([prints, *self._read(keys)]))))
            held.append(Run(number, count))
        return Change(items, runs, fresh)

    def made(self, change: Change) -> None:
        """A change was committed."""
        self._runs = change.runs
        for stretch in self._filters.keys() - change.runs.keys():
            del self._filters[stretch]
        for stretch, prints in change.fresh.items():
            if stretch in self._filters and not self._filters[stretch].add(prints):
                del self._filters[stretch]

    def _known(self, stretch: int, prints: Prints) -> Flags:
        held = self._filters.get(stretch)
        if held is None:
            held = self._filters[stretch] = self._filled(stretch)
        found = held.may_have(prints)
        maybe = np.flatnonzero(found)
        if len(maybe):
            sought, there = prints.take(maybe), np.zeros(len(maybe), np.bool_)
            for run in self._runs[stretch]:
                # one by one: all of them may be more than there is room for
                for one in self._read([run_key(stretch, run.number)]):
                    there |= among(sought, one)
            found[maybe] = there
        return found

    def _filled(self, stretch: int) -> _Filter:
        made = _Filter(sum(run.ids for run in self._runs[stretch]))
        for run in self._runs[stretch]:
            for one in self._read([run_key(stretch, run.number)]):
                made.add(one)
        return made

    def _read(self, keys: list[bytes]) -> list[Prints]:
        if not keys:
            return []
        out = []
        for raw in self._store.get([(self._space, key) for key in keys]):
            if raw is None:
                # another worker has made one of it and others
                raise changed(self._space)
            out.append(unpack(raw))
        return out


class _Filter:
    """A Bloom filter of fingerprints, whose bits are random already."""

    def __init__(self, count: int) -> None:
        size = SMALLEST_FILTER
        while size < LARGEST_FILTER and size < 2 * BITS_AN_ID * count:
            size *= 2
        self._bits = np.zeros(size // 8, np.uint8)
        self._size, self._count = size, 0

    def add(self, prints: Prints) -> bool:
        """Add some; False when there are so many that a larger one should take its place."""
        for places in self._places(prints):
            np.bitwise_or.at(self._bits, places >> 3, (1 << (places & 7)).astype(np.uint8))
        self._count += len(prints)
        return self._size == LARGEST_FILTER or self._count * BITS_AN_ID <= self._size

    def may_have(self, prints: Prints) -> Flags:
        """False for what was never added; nearly always only for that."""
        out = np.ones(len(prints), np.bool_)
        for places in self._places(prints):
            out &= (self._bits[places >> 3] >> (places & 7).astype(np.uint8) & 1).astype(np.bool_)
        return out

    def _places(self, prints: Prints) -> list[Ints]:
        mask, shift = np.uint64(self._size - 1), np.uint64(32)
        words = (prints.high, prints.high >> shift, prints.low, prints.low >> shift)
        return [(word & mask).astype(np.int64) for word in words]


def run_key(stretch: int, number: int) -> bytes:
    """Where a run of a stretch lies."""
    return IDS + (stretch + _BEFORE_ALL).to_bytes(8, "big") + number.to_bytes(8, "big")


def _read_key(key: bytes) -> tuple[int, int]:
    return int.from_bytes(key[1:9], "big") - _BEFORE_ALL, int.from_bytes(key[9:], "big")
