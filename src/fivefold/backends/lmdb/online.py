"""Feature values in an LMDB environment: readers see the last commit from shared memory, writers take turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from fivefold.backends.lmdb.environment import Environment, opened
from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.online import MARK, OnlineStore

T = TypeVar("T")

_NAMES = b"\x00views\x00"


class Lmdb:
    """One environment below a folder: `lmdb:.fivefold/online`. Keys are `view NUL key`, 511 bytes at most."""

    def __init__(self, url: str) -> None:
        self._path = Path(url.removeprefix("lmdb:"))
        try:
            self._held: Environment | None = opened(self._path)
        except (lmdb.Error, OSError) as e:
            raise Unavailable(f"cannot open the online store {self._path}: {e}.") from e

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        def read(env: Any) -> list[bytes | None]:
            with env.begin() as transaction:
                look = transaction.get
                return [look(view.encode() + b"\x00" + key) for view, key in pairs]

        return self._do(read)

    def replace(self, view: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        made = sorted(dict(items).items())
        prefix = self._prefix(view)

        def write(env: Any) -> int:
            longest = env.max_key_size() - len(prefix)
            for key, _ in made:
                if len(key) > longest or key == MARK:
                    raise Invalid(
                        f"a key of the view {view!r} has {len(key)} bytes (accepted: 1 to {longest}).",
                        hint="Use a shorter entity key.",
                    )
            # a reader that was killed keeps its slot, and old pages from being used again, until somebody looks
            env.reader_check()
            with env.begin(write=True) as transaction:
                self._clear(transaction, prefix)
                cursor = transaction.cursor()
                cursor.putmulti([(prefix + key, value) for key, value in made])
                transaction.put(prefix, mark)
                transaction.put(_NAMES + view.encode(), b"")
            return len(made)

        return self._do(write)

    def views(self) -> list[str]:
        def read(env: Any) -> list[str]:
            with env.begin() as transaction:
                cursor = transaction.cursor()
                found = []
                there = cursor.set_range(_NAMES)
                while there and cursor.key().startswith(_NAMES):
                    found.append(cursor.key()[len(_NAMES) :].decode())
                    there = cursor.next()
                return found

        return self._do(read)

    def drop(self, view: str) -> None:
        def write(env: Any) -> None:
            with env.begin(write=True) as transaction:
                self._clear(transaction, self._prefix(view))
                transaction.delete(_NAMES + view.encode())

        self._do(write)

    def close(self) -> None:
        if self._held is not None:
            self._held.release()
        self._held = None

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

    def _do(self, work: Callable[[Any], T]) -> T:
        if self._held is None:
            raise Unavailable(f"the online store {self._path} was closed.")
        return self._held.do(work, f"the online store {self._path}")


provides = {OnlineStore: Lmdb}
