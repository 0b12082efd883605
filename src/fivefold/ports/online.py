"""The online store: the latest feature values by entity, read by many while one writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

MARK = b""
"""The key under which a view's mark is read: what its values were made of."""


class OnlineStore(Protocol):
    """Values of views by key. A key is never empty; the empty key of a view holds its mark."""

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """Values of (view, key) pairs, in order, all as of one commit; None for what is not there."""
        ...

    def replace(self, view: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        """Put these in the place of all that a view held, with its mark, in one transaction; returns how many."""
        ...

    def views(self) -> list[str]:
        """Names of the views that hold something, sorted."""
        ...

    def drop(self, view: str) -> None:
        """Remove a view; one that is gone is fine."""
        ...

    def close(self) -> None:
        """Give the store's resources back; closing twice is fine."""
        ...
