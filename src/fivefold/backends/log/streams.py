"""A topic in an LMDB environment of its own: `log:/folder?partitions=4&retention=7d&max_bytes=20GB`.

Many processes append and read at once. An append is one transaction, on the disk when it returns. A key's partition is
its CRC-32 modulo their number; messages without a key take the partitions in turn. `retention` and `max_bytes` are of
each partition; what goes makes room for what comes, and the file does not shrink.
"""

from __future__ import annotations

import itertools
import os
import random
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lmdb

from fivefold.backends.lmdb.environment import Environment, opened
from fivefold.backends.log.chunks import Chunk, heading, pack, unpack
from fivefold.backends.topics import (
    known_partition,
    others_sent,
    out_of_range,
    same_partitions,
    settings,
    spread,
    topic_name,
)
from fivefold.backends.url import parse
from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.time import DAY
from fivefold.ports.streams import Broker, Message, Record

T = TypeVar("T")

FIRST_LOOK = 0.001
SLOWEST_LOOK = 0.020
# what an append removes of the old at most, beside as much as it adds: nobody pays for a long backlog at once
MOST_RETIRED = 64
# for as long the identities of arrivals are known: the longest that Pub/Sub keeps a message
KNOWN_FOR = 31 * DAY

_FORMAT = b"1"
_ABOUT = b"\x00about"
# keys: 1, partition, offset of a chunk's newest record -> chunk; 2, partition -> next offset, bytes held;
# 3, identity -> nothing; 4, time, identity -> nothing
_CHUNK = struct.Struct(">BHQ")
_STATE_KEY = struct.Struct(">BH")
_STATE = struct.Struct("<QQ")
_SINCE = struct.Struct(">Bq")
_NO_OFFSET = 1 << 62


class Arrival(NamedTuple):
    """A message that may come again; of one `identity` only the first is kept."""

    identity: bytes
    message: Message
    partition: int | None = None


def microseconds() -> int:
    return time.time_ns() // 1000


class Log:
    """A topic below a folder. `clock` tells the time of arrivals, in microseconds UTC."""

    def __init__(self, url: str, *, topic: str, clock: Callable[[], int] = microseconds) -> None:
        parts = parse(url)
        asked = settings(parts.query, "the log URL", ("partitions", "retention", "max_bytes"))
        if parts.host or not parts.path:
            raise Invalid(f"the log URL {parts} names no folder.", hint="Write log:/folder, or log:folder.")
        self._topic = topic_name(topic, "the log")
        self._path = Path(parts.path) / topic
        self._clock = clock
        self._retention, self._max_bytes = asked.retention, asked.max_bytes
        # not all that send one message and go begin with the same partition
        self._turns = itertools.count(random.randrange(1 << 30))
        self._checked = 0.0
        try:
            self._held: Environment | None = opened(self._path)
        except (lmdb.Error, OSError) as e:
            raise Unavailable(f"cannot open the log {self._path}: {e}.") from e
        with ExitStack() as undo:
            undo.callback(self.close)
            self._count = self._do(lambda env: self._known(env) or self._made(env, asked.partitions or 1))
            same_partitions(topic, asked.partitions, self._count)
            undo.pop_all()

    def partitions(self) -> int:
        self._count = self._do(self._known)
        return self._count

    def append(self, messages: Sequence[Message], partition: int | None = None) -> None:
        if partition is not None:
            known_partition(partition, self._count, self._topic)
        now = self._clock()
        packed = {p: pack(ms, now) for p, ms in spread(messages, partition, self._count, self._turns).items()}
        if packed:
            self._write(lambda transaction: self._add(transaction, packed, now))

    def append_behind(self, messages: Sequence[Message], partition: int, behind: int) -> int:
        known_partition(partition, self._count, self._topic)
        now = self._clock()
        packed = {p: pack(ms, now) for p, ms in spread(messages, partition, self._count, self._turns).items()}

        def write(transaction: Any) -> int:
            if _state(transaction, partition)[0] - 1 != behind:
                raise others_sent(self._topic, partition)
            self._add(transaction, packed, now)
            return _state(transaction, partition)[0] - 1

        return self._write(write)

    def take(self, arrivals: Sequence[Arrival]) -> int:
        """Append those that did not arrive before, and remember that they did; how many these were."""
        now = self._clock()

        def write(transaction: Any) -> int:
            fresh = [a for a in arrivals if transaction.put(b"\x03" + a.identity, b"", overwrite=False)]
            parts: dict[int, list[Message]] = {}
            for one in fresh:
                transaction.put(_SINCE.pack(4, now) + one.identity, b"")
                for chosen in spread([one.message], one.partition, self._count, self._turns):
                    parts.setdefault(chosen, []).append(one.message)
            self._add(transaction, {p: pack(messages, now) for p, messages in parts.items()}, now)
            self._forget(transaction, now - KNOWN_FOR, 2 * len(fresh))
            return len(fresh)

        return self._write(write)

    def read(self, partition: int, after: int, limit: int, wait: float = 0.0) -> list[Record]:
        known_partition(partition, self._count, self._topic)
        until = time.monotonic() + wait
        pause = FIRST_LOOK
        while True:
            found = self._do(lambda env: self._look(env, partition, after, limit))
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, SLOWEST_LOOK)

    def bounds(self, partition: int) -> tuple[int, int]:
        known_partition(partition, self._count, self._topic)

        def look(env: Any) -> tuple[int, int]:
            with env.begin(buffers=True) as transaction:
                return _bounds(transaction, partition)

        return self._do(look)

    def done(self, partition: int, offset: int) -> None:
        """Nothing to do: a log keeps no offsets of its readers."""

    def close(self) -> None:
        if self._held is not None:
            self._held.release()
        self._held = None

    def _look(self, env: Any, partition: int, after: int, limit: int) -> list[Record]:
        after = max(after, -1)
        with env.begin(buffers=True) as transaction:
            cursor = transaction.cursor()
            out: list[Record] = []
            there = cursor.set_range(_CHUNK.pack(1, partition, min(after + 1, _NO_OFFSET)))
            while there and len(out) < limit:
                kind, of, last = _chunk_key(cursor.key())
                if (kind, of) != (1, partition):
                    break
                out += unpack(cursor.value(), last, after, limit - len(out))
                there = cursor.next()
            if after >= 0 and (not out or out[0].offset != after + 1):
                wrong = out_of_range(self._topic, partition, after, *_bounds(transaction, partition))
                if wrong:
                    raise wrong
            return out

    def _add(self, transaction: Any, parts: dict[int, list[Chunk]], now: int) -> None:
        added = 0
        for partition, chunks in parts.items():
            following, size = _state(transaction, partition)
            for chunk in chunks:
                following += chunk.records
                size += len(chunk.packed)
                transaction.put(_CHUNK.pack(1, partition, following - 1), chunk.packed)
            transaction.put(_STATE_KEY.pack(2, partition), _STATE.pack(following, size))
            added += len(chunks)
        if self._retention or self._max_bytes:
            for partition in range(self._count):
                self._retire(transaction, partition, now, MOST_RETIRED + added)

    def _retire(self, transaction: Any, partition: int, now: int, most: int) -> None:
        """Remove the oldest chunks whose newest record is too old, or without which there are still enough bytes."""
        following, size = before = _state(transaction, partition)
        cursor = transaction.cursor()
        there = cursor.set_range(_CHUNK.pack(1, partition, 0))
        for _ in range(most):
            if not there or _chunk_key(cursor.key())[:2] != (1, partition):
                break
            held = len(cursor.value())
            old = self._retention and heading(cursor.value())[0] < now - self._retention
            if not old and not (self._max_bytes and size - held >= self._max_bytes):
                break
            size -= held
            there = cursor.delete()
        if (following, size) != before:
            transaction.put(_STATE_KEY.pack(2, partition), _STATE.pack(following, size))

    @staticmethod
    def _forget(transaction: Any, before: int, most: int) -> None:
        cursor = transaction.cursor()
        there = cursor.set_range(b"\x04")
        for _ in range(most):
            if not there or _SINCE.unpack_from(cursor.key())[1] >= before:
                break
            transaction.delete(b"\x03" + bytes(cursor.key())[_SINCE.size :])
            there = cursor.delete()

    @staticmethod
    def _known(env: Any) -> int:
        with env.begin() as transaction:
            about = transaction.get(_ABOUT)
        if about is None:
            return 0
        version, _, count = about.partition(b" ")
        if version != _FORMAT:
            raise Unavailable(
                f"the log at {env.path()} was written in the format {version.decode(errors='replace')!r}, which this "
                f"version of fivefold does not know (it knows {_FORMAT.decode()!r}).",
                hint="Use the version that wrote it, or a newer one.",
            )
        return int(count)

    def _made(self, env: Any, count: int) -> int:
        with env.begin(write=True) as transaction:
            # another process may have been faster
            transaction.put(_ABOUT, b"%s %d" % (_FORMAT, count), overwrite=False)
        # LMDB puts its files on the disk, and leaves their names in the folder to us
        for folder in (self._path, self._path.parent):
            _sync(folder)
        return self._known(env)

    def _write(self, work: Callable[[Any], T]) -> T:
        def write(env: Any) -> T:
            if time.monotonic() - self._checked > 1:
                # a reader that was killed keeps old pages from being used again, until somebody looks
                env.reader_check()
                self._checked = time.monotonic()
            with env.begin(write=True, buffers=True) as transaction:
                return work(transaction)

        return self._do(write)

    def _do(self, work: Callable[[Any], T]) -> T:
        if self._held is None:
            raise Unavailable(f"the log {self._path} was closed.")
        return self._held.do(work, f"the log {self._path}")


def _chunk_key(key: memoryview) -> tuple[int, int, int]:
    if len(key) != _CHUNK.size:
        return 0, 0, 0
    kind, partition, last = _CHUNK.unpack(key)
    return kind, partition, last


def _state(transaction: Any, partition: int) -> tuple[int, int]:
    """The offset that comes next, and the bytes held."""
    found = transaction.get(_STATE_KEY.pack(2, partition))
    if found is None:
        return 0, 0
    following, size = _STATE.unpack(found)
    return following, size


def _bounds(transaction: Any, partition: int) -> tuple[int, int]:
    following, _ = _state(transaction, partition)
    cursor = transaction.cursor()
    if cursor.set_range(_CHUNK.pack(1, partition, 0)):
        kind, of, last = _chunk_key(cursor.key())
        if (kind, of) == (1, partition):
            return last - heading(cursor.value())[1] + 1, following - 1
    return following, following - 1


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


provides = {Broker: Log}
