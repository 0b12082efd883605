"""Feature values in an LMDB environment: readers see the last commit from shared memory, writers take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.online import MARK, OnlineStore

T = TypeVar("T")

FIRST_SIZE = 256 << 20
LARGEST_SIZE = 1 << 40
_NAMES = b"\x00views\x00"


class Lmdb:
    """One environment below a folder: `lmdb:.fivefold/online`. Keys are `view NUL key`, 511 bytes at most."""

    def __init__(self, url: str) -> None:
        self._path = Path(url.removeprefix("lmdb:"))
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._env = lmdb.open(str(self._path), map_size=FIRST_SIZE, max_readers=512, metasync=True)
        except (lmdb.Error, OSError) as e:
            raise Unavailable(f"cannot open the online store {self._path}: {e}.") from e

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        def read() -> list[bytes | None]:
            with self._env.begin() as transaction:
                look = transaction.get
                return [look(view.encode() + b"\x00" + key) for view, key in pairs]

        return self._grown(read)

    def replace(self, view: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        made = sorted(dict(items).items())
        prefix = self._prefix(view)
        for key, _ in made:
            if len(prefix) + len(key) > self._env.max_key_size() or key == MARK:
                raise Invalid(
                    f"a key of the view {view!r} has {len(key)} bytes (accepted: 1 to "
                    f"{self._env.max_key_size() - len(prefix)}).",
                    hint="Use a shorter entity key.",
                )

        def write() -> int:
            with self._env.begin(write=True) as transaction:
                self._clear(transaction, prefix)
                cursor = transaction.cursor()
                cursor.putmulti([(prefix + key, value) for key, value in made])
                transaction.put(prefix, mark)
                transaction.put(_NAMES + view.encode(), b"")
            return len(made)

        return self._grown(write)

    def views(self) -> list[str]:
        def read() -> list[str]:
            with self._env.begin() as transaction:
                cursor = transaction.cursor()
                found = []
                there = cursor.set_range(_NAMES)
                while there and cursor.key().startswith(_NAMES):
                    found.append(cursor.key()[len(_NAMES) :].decode())
                    there = cursor.next()
                return found

        return self._grown(read)

    def drop(self, view: str) -> None:
        def write() -> None:
            with self._env.begin(write=True) as transaction:
                self._clear(transaction, self._prefix(view))
                transaction.delete(_NAMES + view.encode())

        self._grown(write)

    def close(self) -> None:
        self._env.close()

    @staticmethod
    def _prefix(view: str) -> bytes:
        if not view or "\x00" in view:
            raise Invalid(f"{view!r} is not a name of a view.")
        return view.encode() + b"\x00"

    @staticmethod
    def _clear(transaction: Any, prefix: bytes) -> None:
        cursor = transaction.cursor()
        there = cursor.set_range(prefix)
        while there and cursor.key().startswith(prefix):
            there = cursor.delete()

    def _grown(self, do: Callable[[], T]) -> T:
        """Do it; when the map is too small, or another process has grown it, adapt and do it again."""
        while True:
            try:
                return do()
            except lmdb.MapFullError:
                size = self._env.info()["map_size"] * 2
                if size > LARGEST_SIZE:
                    raise Unavailable(f"the online store {self._path} is full.") from None
                self._env.set_mapsize(size)
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)
            except lmdb.DiskError as e:
                raise Unavailable(
                    f"cannot write to the online store {self._path}: {e}.",
                    hint="Free some space and run it again; nothing was changed.",
                ) from e


provides = {OnlineStore: Lmdb}
