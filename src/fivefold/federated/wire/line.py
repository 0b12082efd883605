"""Lines: how a client reaches the server. Clients call out, so nobody has to reach them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from fivefold.core.errors import Unavailable


class Peer(NamedTuple):
    """Who is at the other end, by its certificate: a name and the certificate's number. Nobody: two empty texts."""

    name: str
    serial: str


Answer = Callable[[Peer, bytes], bytes]
"""What a server does with a call."""


class Line(Protocol):
    """A line to a server."""

    def call(self, request: bytes) -> bytes:
        """Send a request and wait for its answer. Raises Unavailable when there is none."""

    def close(self) -> None:
        """Hang up."""


class MemoryLine:
    """A line to a server in this process, for simulations and tests; the same bytes travel as over a network."""

    def __init__(self, answer: Answer, peer: Peer) -> None:
        self._answer: Answer | None = answer
        self._peer = peer
        self.sent = self.received = 0
        """Bytes so far."""

    def call(self, request: bytes) -> bytes:
        if self._answer is None:
            raise Unavailable("the line was closed.")
        self.sent += len(request)
        reply = self._answer(self._peer, request)
        self.received += len(reply)
        return reply

    def close(self) -> None:
        self._answer = None
