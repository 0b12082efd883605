"""What an HTTP/1.1 server and what answers it say to each other: whole requests, and answers whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from typing import Any, NamedTuple, Protocol

JSON = b"application/json"

Header = tuple[bytes, bytes]

CLOSE: Header = (b"connection", b"close")
"""Among the headers of an answer, the last one of its connection."""


class Request(NamedTuple):
    """A whole request. Header names are lower case; `path` is as it was sent, percent signs included."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    peer: str
    """The client's address, empty for a local socket."""
    certificate: str = ""
    """The common name of the client's certificate, if one was asked for and verified."""


class Response(NamedTuple):
    """What is sent back: `body`, or else the pieces of `stream` as they come."""

    status: int
    body: bytes
    kind: bytes = JSON
    headers: tuple[Header, ...] = ()
    stream: AsyncIterator[bytes] | None = None


class Pending(Protocol):
    """A response that is being made, without a task of the loop."""

    def then(self, call: Callable[[Response], None]) -> None:
        """What is done with the response; it is called once, or never when it is cancelled."""
        ...

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        ...

    def __await__(self) -> Generator[Any, None, Response]: ...


Handler = Callable[[Request], Response | Pending | Awaitable[Response]]
