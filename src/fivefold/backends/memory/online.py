"""Feature values and stream state in this process: for tests and trying things out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.spaces import changed, checked, empty_key, split


class Memory:
    """Spaces as dictionaries, with the mark under the empty key. Every connection is a store of its own."""

    def __init__(self, url: str = "memory:") -> None:
        self._spaces: dict[str, dict[bytes, bytes]] = {}
        self._lock = threading.Lock()

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        nothing: dict[bytes, bytes] = {}
        with self._lock:
            return [self._spaces.get(space, nothing).get(key) for space, key in pairs]

    def replace(self, space: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        split(space)
        made = dict(items)
        if MARK in made:
            raise empty_key(space)
        count = len(made)
        with self._lock:
            self._spaces[space] = {**made, MARK: mark}
        return count

    def commit(self, writes: Sequence[Write]) -> None:
        checked(writes)
        with self._lock:
            for write in writes:
                if self._spaces.get(write.space, {}).get(MARK) != write.expected:
                    raise changed(write.space)
            for write in writes:
                held = self._spaces.setdefault(write.space, {})
                for key, value in write.items:
                    if value is None:
                        held.pop(key, None)
                    else:
                        held[key] = value
                held[MARK] = write.mark

    def scan(self, space: str, after: bytes = MARK, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        split(space)
        with self._lock:
            held = self._spaces.get(space, {})
            # the mark is left out by itself: no key lies after it and is empty
            return iter(sorted(item for item in held.items() if item[0] > after and item[0].startswith(prefix)))

    def spaces(self) -> list[str]:
        with self._lock:
            return sorted(self._spaces)

    def drop(self, space: str) -> None:
        split(space)
        with self._lock:
            self._spaces.pop(space, None)

    def close(self) -> None:
        with self._lock:
            self._spaces = {}


provides = {OnlineStore: Memory}
