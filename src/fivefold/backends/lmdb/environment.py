"""LMDB environments of this process: each path is opened once, and its map is resized while nobody is inside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from fivefold.core.errors import Unavailable

T = TypeVar("T")

FIRST_SIZE = 256 << 20
LARGEST_SIZE = 1 << 40
READERS = 512

_open: dict[Path, Environment] = {}
_opening = threading.Lock()


class Environment:
    """An environment shared by all stores of this process at one path; LMDB forbids to open it twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._env: Any = lmdb.open(str(path), map_size=FIRST_SIZE, max_readers=READERS)
        self._inside = 0
        self._waiting = 0
        # a bare lock, which those who enter and leave take: a condition costs a reader as much as its reading
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self.owners = 0

    @property
    def size(self) -> int:
        """Bytes of the map."""
        return int(self._env.info()["map_size"])

    def enter(self) -> Any:
        """The LMDB environment for one transaction, during which it is neither resized nor closed; then `leave`."""
        with self._lock:
            # those who come now wait, else a resize would wait for ever where there is always somebody inside
            while self._waiting:
                self._changed.wait()
            self._inside += 1
        return self._env

    def leave(self) -> None:
        """The transaction is over."""
        with self._lock:
            self._inside -= 1
            if self._waiting and not self._inside:
                self._changed.notify_all()

    @contextmanager
    def used(self) -> Iterator[Any]:
        """`enter` and `leave` around a block."""
        env = self.enter()
        try:
            yield env
        finally:
            self.leave()

    def resize(self, size: int) -> None:
        """Give the map another size, 0 for the one another process gave it, once no transaction is under way."""
        with self._alone():
            if size == 0 or size > self.size:
                self._env.set_mapsize(size)

    def do(self, work: Callable[[Any], T], what: str) -> T:
        """Do it; when the map is too small, or another process has grown it, adapt and do it again.

        Raises Unavailable, naming `what` the environment is, when it fails or is full.
        """
        while True:
            env = self.enter()
            try:
                return work(env)
            except lmdb.MapFullError:
                larger = self.size * 2
            except lmdb.MapResizedError:
                larger = 0
            except lmdb.Error as e:
                raise Unavailable(
                    f"{what} failed: {e}.", hint="Look for a full disk, then try again; nothing was changed."
                ) from e
            finally:
                self.leave()
            if larger > LARGEST_SIZE:
                raise Unavailable(f"{what} is full.")
            self.resize(larger)

    def release(self) -> None:
        """One owner fewer; the last one closes it."""
        with _opening:
            self.owners -= 1
            if not self.owners:
                del _open[self._path]
                with self._alone():
                    self._env.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._inside)
                yield
            finally:
                self._waiting -= 1
                self._changed.notify_all()


def opened(path: Path) -> Environment:
    """The environment at a path, made if it is not there; `release` it when done. Raises lmdb.Error and OSError."""
    path.mkdir(parents=True, exist_ok=True)
    place = path.resolve()
    with _opening:
        found = _open.get(place)
        if found is None:
            found = _open[place] = Environment(place)
        found.owners += 1
        return found
