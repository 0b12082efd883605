"""The online store: feature values and stream state by key, read by many while one writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

MARK = b""
"""The key under which a space's mark is read: what its values were made of."""


class Write(NamedTuple):
    """Changes to one space: new values by key (None removes the key), and its next mark.

    They are made only if the mark is still `expected` (None: the space holds nothing yet).
    """

    space: str
    items: Sequence[tuple[bytes, bytes | None]]
    mark: bytes
    expected: bytes | None


class OnlineStore(Protocol):
    """Values by space and key. A key is never empty; the empty key of a space holds its mark.

    A space is called `name` or `name/partition`. Spaces of one partition are written in one transaction and read as of
    one commit; those without a partition are together in one of their own. A space exists as soon as it has a mark.
    """

    def get(self, pairs: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """Values of (space, key) pairs, in order, all of a partition as of one commit; None for what is not there."""
        ...

    def replace(self, space: str, items: Iterable[tuple[bytes, bytes]], mark: bytes) -> int:
        """Put these in the place of all that a space held, with its mark, in one transaction; returns how many."""
        ...

    def commit(self, writes: Sequence[Write]) -> None:
        """Make all changes, to spaces of one partition, in one durable transaction.

        Raises Conflict, and changes nothing, when a mark is not what was expected; Invalid for spaces of several
        partitions.
        """
        ...

    def scan(self, space: str, after: bytes = MARK, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a space in the order of the keys' bytes, without the mark: those that begin with `prefix`
        and lie after the key `after`. What is written meanwhile may or may not be seen."""
        ...

    def spaces(self) -> list[str]:
        """Names of the spaces that hold something, sorted."""
        ...

    def drop(self, space: str) -> None:
        """Remove a space; one that is gone is fine."""
        ...

    def close(self) -> None:
        """Give the store's resources back; closing twice is fine."""
        ...
