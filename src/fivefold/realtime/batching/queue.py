"""Requests that wait for a call: which go next, together, and which have waited too long."""

from __future__ import annotations

from collections.abc import Hashable

from fivefold.realtime.batching.waiting import Waiting
from fivefold.realtime.protocols.batch import Batch

AGE = 100_000_000
"""Nanoseconds of waiting after which a request goes before those of the next level, so that none waits for ever."""


class Entry:
    """A batch that waits. Times are nanoseconds of the batcher's clock; a smaller level goes first.

    `due` is when it should be answered, `over` when nobody wants the answer any more (None: never).
    """

    __slots__ = ("arrived", "batch", "due", "level", "over", "waiting")

    def __init__(self, batch: Batch, waiting: Waiting, level: int, arrived: int, due: int, over: int | None) -> None:
        self.batch, self.waiting, self.level = batch, waiting, level
        self.arrived, self.due, self.over = arrived, due, over


def signature_of(batch: Batch) -> Hashable:
    """What batches must have in common to be answered by one call: fields, version, moment and outputs."""
    # the fields are those of the version that the batch was read under, the same object for all of its batches
    return id(batch.fields), batch.version, batch.at, batch.outputs


class Queue:
    """Entries that wait, in no particular order until some are taken."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.rows = self.cancelled = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Let an entry wait."""
        self._entries.append(entry)
        self.rows += entry.batch.size

    def put_back(self, entries: list[Entry]) -> None:
        """Entries that were taken and are not called yet go where they were."""
        self._keep(entries + self._entries)

    def expired(self, now: int) -> list[Entry]:
        """Entries whose time is over, taken out; those that were cancelled are dropped."""
        gone: list[Entry] = []
        kept: list[Entry] = []
        for e in self._entries:
            if e.waiting.done():
                self.cancelled += 1
                continue
            (gone if e.over is not None and e.over <= now else kept).append(e)
        self._keep(kept)
        return gone

    def next_over(self) -> int | None:
        """When the first of those that wait is over, None when none ever is."""
        return min((e.over for e in self._entries if e.over is not None), default=None)

    def next_due(self) -> int:
        """When the first of those that wait should be answered."""
        return min(e.due for e in self._entries)

    def take(self, now: int, most_rows: int) -> list[Entry]:
        """The entries that go next in one call: the most urgent, then others of its signature up to so many rows.

        By level, which waiting improves, then by deadline. One with more rows than `most_rows` goes alone.
        """
        if len(self._entries) == 1:
            alone = self._entries
            self._keep([])
            return alone
        self._entries.sort(key=lambda e: (e.level - (now - e.arrived) // AGE, e.due))
        head = self._entries[0]
        taken: list[Entry] = [head]
        kept: list[Entry] = []
        rows, key = head.batch.size, signature_of(head.batch)
        for e in self._entries[1:]:
            if signature_of(e.batch) == key and rows + e.batch.size <= most_rows:
                taken.append(e)
                rows += e.batch.size
            else:
                kept.append(e)
        self._keep(kept)
        return taken

    def _keep(self, kept: list[Entry]) -> None:
        self._entries = kept
        self.rows = sum(e.batch.size for e in kept)
