"""Who accepts connections: a socket that several processes may share, each taking clients only while it has room."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from functools import partial

from fivefold.realtime.http.connection import Connection, Front

FULL_SECONDS = 0.25
"""How long nobody is accepted when the process can open nothing more."""
EACH_SECONDS = 0.0005
"""Who waited while a turn of the loop took so long is one client more that the next turn accepts."""
MOST_AT_ONCE = 64
IDLE_SECONDS = 0.2
"""No turn of a loop that answers takes so long: nobody was waiting in between."""


class Listener:
    """Accepts clients of a listening socket for a front, while it is open and has fewer than its limit."""

    def __init__(self, sock: socket.socket, front: Front, tls: ssl.SSLContext | None = None) -> None:
        self._socket, self._front, self._tls = sock, front, tls
        self._loop = front.loop
        self._arriving: set[asyncio.Task[object]] = set()
        self._listening = self._open = False
        self._looked = 0.0
        sock.setblocking(False)
        front.left = self._look

    def renew(self, tls: ssl.SSLContext) -> None:
        """Show clients that come from now on another certificate."""
        self._tls = tls

    def open(self) -> None:
        """Take clients from now on."""
        self._open = True
        self._look()

    def shut(self) -> None:
        """Take nobody until it is opened again: who comes is left to other processes, or waits."""
        self._open = False
        self._look()

    def _look(self) -> None:
        room = len(self._front.connections) + len(self._arriving) < self._front.limits.connections
        if self._open and room and not self._listening:
            self._loop.add_reader(self._socket.fileno(), self._accept)
            self._listening = True
        elif self._listening and not (self._open and room):
            self._loop.remove_reader(self._socket.fileno())
            self._listening = False

    def _accept(self) -> None:
        # an idle loop takes one a turn: who comes next is for the process whose loop is free first. Where turns are
        # long nobody was free, and one a turn would leave those who come waiting for seconds
        now = time.monotonic()
        turn, self._looked = now - self._looked, now
        most = min(1 + int(turn / EACH_SECONDS), MOST_AT_ONCE) if turn < IDLE_SECONDS else 1
        for _ in range(most):
            if not self._listening or not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Whether there was one to accept."""
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False  # another process was faster, or the client left
        except OSError:
            # no file can be opened any more; asked again at once it would say so again
            self.shut()
            self._loop.call_later(FULL_SECONDS, self.open)
            return False
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made = self._loop.create_task(self._take(client))
        self._arriving.add(made)
        made.add_done_callback(self._taken)
        self._look()
        return True

    def _taken(self, made: asyncio.Task[object]) -> None:
        self._arriving.discard(made)
        self._look()

    async def _take(self, client: socket.socket) -> None:
        handshake = self._front.limits.head_seconds if self._tls else None
        try:
            await self._loop.connect_accepted_socket(
                partial(Connection, self._front), client, ssl=self._tls, ssl_handshake_timeout=handshake
            )
        except (OSError, asyncio.CancelledError):
            client.close()  # it left, or speaks another kind of TLS, or none
