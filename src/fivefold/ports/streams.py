"""A stream's records on a broker: appended once, read by partition from any offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What is sent: records of equal keys go to one partition, in order; without a key, to any."""

    value: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Record(NamedTuple):
    """What is read. `offset` grows within its partition and may skip; `at` is when the broker took it, microseconds
    UTC."""

    offset: int
    value: bytes
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    at: int


class Broker(Protocol):
    """One topic. Opened as `connect(Broker, URL, topic=NAME)`; the topic is made when it is not there.

    It remembers nothing of who read what: the reader keeps its offset with what it made of the records.
    """

    def partitions(self) -> int:
        """How many partitions the topic has now; they are numbered from 0, and some may be added."""
        ...

    def append(self, messages: Sequence[Message], partition: int | None = None) -> None:
        """Send messages, in order; when it returns they are the broker's. `partition` overrides their keys.

        Raises Unavailable when the broker does not take them; some may then have been taken.
        """
        ...

    def append_behind(self, messages: Sequence[Message], partition: int, behind: int) -> int:
        """Send messages to a partition, all or none, if its newest offset (see `bounds`) is `behind`; gives the newest
        one then.

        Raises Conflict, and sends nothing, when somebody else sent something; Unavailable when the broker does not
        answer, and all or none may be there; Unsupported by a broker that cannot promise this.
        """
        ...

    def read(self, partition: int, after: int, limit: int, wait: float = 0.0) -> list[Record]:
        """At most `limit` records with offsets above `after` (-1: from the oldest), in order.

        Waits up to `wait` seconds for the first one. Raises Unavailable when the broker does not answer.
        """
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """The oldest offset that can still be read and the newest one; of an empty partition (next, next - 1)."""
        ...

    def done(self, partition: int, offset: int) -> None:
        """Tell the broker that all up to an offset has been kept by the reader, for those that show lag or need it."""
        ...

    def close(self) -> None:
        """Give the connection back; closing twice is fine."""
        ...
