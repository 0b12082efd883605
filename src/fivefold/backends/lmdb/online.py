"""Values in LMDB environments, one a partition: readers see the last commit from shared memory, writers take turns."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from fivefold.backends.lmdb.environment import Environment, opened
from fivefold.core.errors import Unavailable
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.spaces import changed, checked, empty_key, key_too_long, split

T = TypeVar("T")

PAGE, PAGE_BYTES = 1000, 4 << 20
_BASE, _PARTITION = "base", "partition-"


class Lmdb:
    """Environments below a folder: `lmdb:.fivefold/online`. Keys are `name NUL key`, 511 bytes at most.

    The environment of a partition is opened when it is first asked for, and made when it is first written to.
    """

    def __init__(self, url: str) -> None:
        self._path = Path(url.removeprefix("lmdb:"))
        self._closed = False
        self._opening = threading.Lock()
        self._partitions: dict[str, _Partition] = {}
        self._places: dict[str, _Partition] = {}
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise self._not_opened(e) from e

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        # nearly always all pairs are of one partition that has been read before: the less Python here the better
        try:
            place = self._places[pairs[0][0]]
            prefixes = place.prefixes
            keys = [prefixes[space] + key for space, key in pairs]
        except LookupError:
            return self._get_apart(pairs)
        held = place.environment
        env = held.enter()
        try:
            with env.begin() as transaction:
                return list(map(transaction.get, keys))
        except lmdb.Error:
            pass  # a key that is too long, a map that grew: looked into below
        finally:
            held.leave()
        return self._read(place, keys)

    def replace(self, space: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        name, partition = split(space)
        prefix = _prefix(name)
        made = sorted(dict(items).items())
        if made and made[0][0] == MARK:
            raise empty_key(space)

        def write(env: Any, transaction: Any) -> int:
            _check_sizes(env, space, prefix, (key for key, _ in made))
            self._clear(transaction, prefix)
            transaction.cursor().putmulti([(prefix, mark), *((prefix + key, value) for key, value in made)])
            return len(made)

        return self._write(partition, write)

    def commit(self, writes: Sequence[Write]) -> None:
        partition = checked(writes)
        made = [(w, _prefix(split(w.space)[0]), sorted(dict(w.items).items())) for w in writes]

        def write(env: Any, transaction: Any) -> None:
            for one, prefix, items in made:
                if transaction.get(prefix) != one.expected:
                    raise changed(one.space)
                _check_sizes(env, one.space, prefix, (key for key, _ in items))
            for one, prefix, items in made:
                put = [(prefix + key, value) for key, value in items if value is not None]
                transaction.cursor().putmulti([(prefix, one.mark), *put])
                for key, value in items:
                    if value is None:
                        transaction.delete(prefix + key)

        if made:
            self._write(partition, write)

    def scan(self, space: str, after: bytes = MARK, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        name, partition = split(space)
        # a page at a time: a transaction held while the caller works would keep old pages from being used again
        start = max(_prefix(name) + after + b"\x00", _prefix(name) + prefix)
        while page := self._page(partition, start, _prefix(name), prefix):
            yield from page
            start = _prefix(name) + page[-1][0] + b"\x00"

    def spaces(self) -> list[str]:
        found = []
        for partition in [name for folder in self._folders() if (name := _partition_of(folder)) is not None]:
            place = self._find(partition)
            if place is not None:
                names = self._do(place.environment, _names)
                found += [f"{name}/{partition}" if partition else name for name in names]
        return sorted(found)

    def drop(self, space: str) -> None:
        name, partition = split(space)
        if self._find(partition) is not None:
            self._write(partition, lambda env, transaction: self._clear(transaction, _prefix(name)))

    def close(self) -> None:
        with self._opening:
            self._closed = True
            self._places = {}
            for place in self._partitions.values():
                place.environment.release()
            self._partitions = {}

    def _get_apart(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """Pairs of several partitions, or of spaces that were not read before."""
        self._require_open()
        found: list[bytes | None] = [None] * len(pairs)
        spots: dict[str, list[int]] = {}
        for i, (space, _) in enumerate(pairs):
            spots.setdefault(split(space)[1], []).append(i)
        for partition, chosen in spots.items():
            place = self._find(partition)
            if place is None:
                continue
            for i in chosen:
                space = pairs[i][0]
                if space not in place.prefixes:
                    place.prefixes[space] = _prefix(split(space)[0])
                    self._places[space] = place
            prefixes = place.prefixes
            values = self._read(place, [prefixes[pairs[i][0]] + pairs[i][1] for i in chosen])
            for i, value in zip(chosen, values, strict=True):
                found[i] = value
        return found

    def _read(self, place: _Partition, keys: list[bytes]) -> list[bytes | None]:
        def read(env: Any) -> list[bytes | None]:
            with env.begin() as transaction:
                try:
                    return list(map(transaction.get, keys))
                except lmdb.BadValsizeError:
                    longest = env.max_key_size()
                    return [transaction.get(key) if len(key) <= longest else None for key in keys]

        return self._do(place.environment, read)

    def _page(self, partition: str, start: bytes, space: bytes, prefix: bytes) -> list[tuple[bytes, bytes]]:
        place = self._find(partition)
        if place is None:
            return []
        among, skip = space + prefix, len(space)

        def read(env: Any) -> list[tuple[bytes, bytes]]:
            page: list[tuple[bytes, bytes]] = []
            size = 0
            # a key that is too long to be there still has a place in the order
            begin = start[: env.max_key_size()]
            with env.begin() as transaction:
                cursor = transaction.cursor()
                if cursor.set_range(begin):
                    for key, value in cursor:
                        if not key.startswith(among) or len(page) == PAGE or size > PAGE_BYTES:
                            break
                        if key >= start:
                            page.append((key[skip:], value))
                            size += len(value)
            return page

        return self._do(place.environment, read)

    def _write(self, partition: str, work: Callable[[Any, Any], T]) -> T:
        place = self._find(partition, make=True)
        assert place is not None

        def write(env: Any) -> T:
            # a reader that was killed keeps its slot, and old pages from being used again, until somebody looks
            env.reader_check()
            with env.begin(write=True) as transaction:
                return work(env, transaction)

        return self._do(place.environment, write)

    @staticmethod
    def _clear(transaction: Any, prefix: bytes) -> None:
        cursor = transaction.cursor()
        there = cursor.set_range(prefix)
        while there and cursor.key().startswith(prefix):
            there = cursor.delete()

    def _find(self, partition: str, *, make: bool = False) -> _Partition | None:
        """The environment of a partition; None where nobody, in this process or another, has made it."""
        found = self._partitions.get(partition)
        if found is not None:
            return found
        with self._opening:
            self._require_open()
            folder = self._path / _folder_of(partition)
            # not every folder that is there is an environment yet: the file is what another process makes last
            if partition not in self._partitions and (make or (folder / "data.mdb").exists()):
                try:
                    self._partitions[partition] = _Partition(opened(folder))
                except (lmdb.Error, OSError) as e:
                    raise self._not_opened(e) from e
            return self._partitions.get(partition)

    def _folders(self) -> list[str]:
        self._require_open()
        return [each.name for each in self._path.iterdir()] if self._path.exists() else []

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable(f"the online store {self._path} was closed.")

    def _not_opened(self, e: Exception) -> Unavailable:
        return Unavailable(f"cannot open the online store {self._path}: {e}.")

    def _do(self, held: Environment, work: Callable[[Any], T]) -> T:
        try:
            return held.do(work, f"the online store {self._path}")
        except Unavailable:
            self._require_open()
            raise


class _Partition:
    """An environment, and by space that was read from it the bytes that its keys begin with."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.prefixes: dict[str, bytes] = {}


def _prefix(name: str) -> bytes:
    return name.encode() + b"\x00"


def _names(env: Any) -> list[str]:
    """Names of the spaces in an environment, one look-up each."""
    found = []
    with env.begin() as transaction:
        cursor = transaction.cursor()
        there = cursor.first()
        while there:
            name = cursor.key().partition(b"\x00")[0]
            found.append(name.decode())
            # no name holds NUL: this lies behind all keys of the one, and before those of every other that follows
            there = cursor.set_range(name + b"\x01")
    return found


def _check_sizes(env: Any, space: str, prefix: bytes, keys: Iterable[bytes]) -> None:
    longest = env.max_key_size() - len(prefix)
    largest = max(map(len, keys), default=0)
    if largest > longest:
        raise key_too_long(space, largest, longest)


def _folder_of(partition: str) -> str:
    """A folder's name: that of `base` and `..` is no partition's, and where case is ignored `A` is not `a`."""
    return _PARTITION + re.sub("[A-Z]", lambda found: "+" + found[0].lower(), partition) if partition else _BASE


def _partition_of(folder: str) -> str | None:
    """The partition of a folder, empty for `base`; None for a folder of something else."""
    if folder == _BASE:
        return ""
    name = re.sub(r"\+([a-z])", lambda found: found[1].upper(), folder.removeprefix(_PARTITION))
    return name if folder == _folder_of(name) and name else None


provides = {OnlineStore: Lmdb}
