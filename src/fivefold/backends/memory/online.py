"""Feature values in this process: for tests and trying things out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from fivefold.ports.online import MARK, OnlineStore


class Memory:
    """Views as dictionaries that are swapped whole."""

    def __init__(self, url: str = "memory:") -> None:
        self._views: dict[str, dict[bytes, bytes]] = {}
        self._lock = threading.Lock()

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        held = self._views
        return [held.get(view, {}).get(key) for view, key in pairs]

    def replace(self, view: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        made = dict(items)
        count = len(made)
        with self._lock:
            # a new outer dictionary: a reader holds one commit from its first look on
            self._views = {**self._views, view: {**made, MARK: mark}}
        return count

    def views(self) -> list[str]:
        return sorted(self._views)

    def drop(self, view: str) -> None:
        with self._lock:
            self._views = {name: held for name, held in self._views.items() if name != view}

    def close(self) -> None:
        self._views = {}


provides = {OnlineStore: Memory}
