"""HTTP/1.1 by httptools (RFC 9112), straight on the loop: no task, timer or scope is made for a request.

A handler is given whole requests and answers at once, or with something to await. Everything a client sends is bounded
in size and in time; one sweep a second looks after all deadlines.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from http import HTTPStatus
from inspect import isawaitable
from typing import Any, NamedTuple, cast

import httptools

from fivefold.realtime.http.http1 import CLOSE, Handler, Pending, Request, Response
from fivefold.realtime.http.tls import common_name

MOST_HEAD_BYTES = 64 << 10
HEAD_SECONDS = 10.0
"""How long a request may take to send its head, from its first byte or from the connection on."""
BODY_SECONDS = 10.0
"""How long a request may take to send its body."""
IDLE_SECONDS = 75.0
"""How long a connection may be kept without a request."""
STALL_SECONDS = 30.0
"""How long a client may take nothing of its answer."""
MOST_WAITING = 16
"""Requests that may follow one another on a connection before the first is answered; then nothing more is read."""

# what a connection is doing, and so what its deadline is for
_IDLE, _HEAD, _BODY, _ANSWER, _STALLED = range(5)


class Limits(NamedTuple):
    """Bounds of one server: bytes of a body, connections, and seconds."""

    body_bytes: int = 8 << 20
    held_bytes: int = 512 << 20
    """Bodies of all connections together that are not being answered yet."""
    connections: int = 2000
    head_seconds: float = HEAD_SECONDS
    body_seconds: float = BODY_SECONDS
    idle_seconds: float = IDLE_SECONDS
    stall_seconds: float = STALL_SECONDS


class Front:
    """What all connections of a server share: the handler, the limits, the date, and who is connected.

    `refuse` makes the answer for a request that is no proper one: of a status and a message.
    """

    def __init__(
        self,
        handler: Handler,
        refuse: Callable[[int, str], Response],
        loop: asyncio.AbstractEventLoop,
        limits: Limits = Limits(),
    ) -> None:
        self.handler, self.refuse, self.loop, self.limits = handler, refuse, loop, limits
        self.connections: set[Connection] = set()
        self.draining = False
        self.held = 0
        """Bytes of bodies that are here and not being answered yet."""
        """Connections close with their next answer."""
        self.left: Callable[[], None] = lambda: None
        """Called when a client has left."""
        self.date = b""
        self._sweeping: asyncio.TimerHandle | None = None
        self._sweep()

    def leave(self) -> None:
        """Let go of connections that wait for nothing, and of the others once they are answered."""
        self.draining = True
        for connection in list(self.connections):
            connection.leave()

    def close(self) -> None:
        """Cut whoever is still there."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in list(self.connections):
            connection.abort()

    def _sweep(self) -> None:
        now = self.loop.time()
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"
        for connection in list(self.connections):
            connection.look(now)
        self._sweeping = self.loop.call_later(1.0, self._sweep)


class Connection(asyncio.Protocol):
    """One client. Requests that follow one another are answered in order."""

    __slots__ = (
        "_answering",
        "_arriving",
        "_body",
        "_body_size",
        "_certificate",
        "_closing",
        "_doing",
        "_expects",
        "_front",
        "_head_bytes",
        "_headers",
        "_held",
        "_parser",
        "_paused",
        "_peer",
        "_since",
        "_transport",
        "_url",
        "_waiting",
        "_writable",
    )

    def __init__(self, front: Front) -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._peer = self._certificate = ""
        self._doing, self._since = _HEAD, front.loop.time()
        self._head_bytes = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = 0
        self._expects = False
        self._held = 0
        self._arriving = False
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._answering: asyncio.Future[Any] | Pending | bool = False
        self._closing = False
        self._paused = False
        self._writable: asyncio.Future[None] | None = None

    # what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if isinstance(name, tuple) else ""
        self._certificate = common_name(transport.get_extra_info("peercert"))
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._front.held -= self._held
        self._held = 0
        self._front.left()
        self._transport = None
        self._waiting.clear()
        # nobody waits for the answer any more: whoever makes it can leave it
        if not isinstance(self._answering, bool):
            self._answering.cancel()
        if self._writable is not None and not self._writable.done():
            self._writable.cancel()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._doing == _IDLE:
            self._turn(_HEAD)
        if not self._arriving:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as e:
            self._pass_over(data[e.args[0] :])
        except httptools.HttpParserError as e:
            if not self._closing:
                self._refuse(400, f"this is no HTTP request: {e}.")
        else:
            if not self._arriving and self._head_bytes > MOST_HEAD_BYTES and not self._closing:
                self._refuse(431, f"the head of a request is longer than {MOST_HEAD_BYTES} bytes.")

    def eof_received(self) -> None:
        return None

    def pause_writing(self) -> None:
        self._writable = self._front.loop.create_future()
        self._turn(_STALLED)

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        self._turn(_ANSWER if self._answering is not False else _IDLE)

    # what the parser says

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._body_size, self._expects = b"", {}, [], 0, False
        if self._answering is False:
            self._turn(_HEAD)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self._headers:
            # two of these say that somebody on the way sees another request than we do
            if name in (b"content-length", b"transfer-encoding", b"host"):
                self._refuse(400, f"the header {name.decode('latin-1')!r} is there twice.")
                return
            value = self._headers[name] + b", " + value
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._arriving = True
        headers = self._headers
        stated = headers.get(b"content-length")
        if stated is not None:
            if b"transfer-encoding" in headers:
                self._refuse(400, "a request has content-length or transfer-encoding, not both.")
            elif not stated.isdigit() or int(stated) > self._front.limits.body_bytes:
                self._too_long(f"the body has {stated[:40].decode('latin-1')} bytes")
        if headers.get(b"expect", b"").lower() == b"100-continue" and not self._closing:
            assert self._transport is not None
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._answering is False:
            self._turn(_BODY)

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        self._held += len(body)
        self._front.held += len(body)
        if self._front.held > self._front.limits.held_bytes:
            self._refuse(503, "this server holds as many bodies as it may; send it again a little later.")
            return
        if self._body_size > self._front.limits.body_bytes:
            self._too_long(f"the body has more than {self._front.limits.body_bytes} bytes")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._arriving, self._head_bytes = False, 0
        if self._closing or self._parser.should_upgrade():
            return
        path, _, query = self._url.partition(b"?")
        body = self._body
        request = Request(
            self._parser.get_method().decode("ascii"),
            path.decode("latin-1"),
            query,
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
            self._peer,
            self._certificate,
        )
        self._body = []
        keep = self._parser.should_keep_alive()
        if self._answering is not False:
            self._waiting.append((request, keep))
            if len(self._waiting) >= MOST_WAITING and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
            return
        self._answer(request, keep)

    def _pass_over(self, rest: bytes) -> None:
        """Read a request that offers another protocol, as some clients' first ones do, as if it did not.

        The parser takes what follows such a head for the other protocol, a body as well.
        """
        method, url = self._parser.get_method(), self._url
        if method == b"CONNECT":
            self._refuse(400, "this server is no proxy.")
            return
        kept = [(n, v) for n, v in self._headers.items() if n not in (b"upgrade", b"connection")]
        if b"close" in self._headers.get(b"connection", b"").lower():
            kept.append(CLOSE)
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, url, b"".join(b"%b: %b\r\n" % header for header in kept))
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    # answers

    def _answer(self, request: Request, keep: bool) -> None:
        size = min(len(request.body), self._held)
        self._held -= size
        self._front.held -= size
        self._doing, self._since = _ANSWER, self._front.loop.time()
        self._answering = True
        try:
            found = self._front.handler(request)
        except Exception:  # the edge of the process: one request may fail, the others go on
            self._fail(request, keep)
            return
        if isinstance(found, tuple):
            assert isinstance(found, Response)
            self._send(request, found, keep)
            return
        then = getattr(found, "then", None)
        if then is not None:
            self._answering = cast(Pending, found)
            then(lambda response: self._send(request, response, keep))
            return
        assert isawaitable(found)
        future = asyncio.ensure_future(found, loop=self._front.loop)
        self._answering = future
        future.add_done_callback(lambda done: self._made(done, request, keep))

    def _made(self, done: asyncio.Future[Response], request: Request, keep: bool) -> None:
        if self._transport is None or done.cancelled():
            return
        error = done.exception()
        if error is not None:
            traceback.print_exception(error, file=sys.stderr)
            self._send(request, self._fault(), keep)
        else:
            self._send(request, done.result(), keep)

    def _fail(self, request: Request, keep: bool) -> None:
        traceback.print_exc(file=sys.stderr)
        self._send(request, self._fault(), keep)

    def _fault(self) -> Response:
        return self._front.refuse(500, "something is wrong here, not with the request; the server's log says what.")

    def _send(self, request: Request, response: Response, keep: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        keep = keep and not self._front.draining and CLOSE not in response.headers
        if response.stream is not None and request.method != "HEAD":
            transport.write(_head(response, self._front.date, keep, b"transfer-encoding: chunked\r\n"))
            self._answering = asyncio.ensure_future(self._pour(response.stream, keep), loop=self._front.loop)
            return
        length = b"content-length: %d\r\n" % len(response.body)
        head = _head(response, self._front.date, keep, length)
        transport.write(head if request.method == "HEAD" else head + response.body)
        self._next(keep)

    async def _pour(self, stream: AsyncIterator[bytes], keep: bool) -> None:
        """Send the pieces of an answer as they come, no faster than the client takes them."""
        try:
            async for piece in stream:
                if self._transport is None:
                    return
                if piece:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                if self._writable is not None:
                    await self._writable
                # others are answered between pieces
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise
        except Exception:
            # the head has been sent: that the answer is cut is all that can be said
            traceback.print_exc(file=sys.stderr)
            self.abort()
            return
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()
        if self._transport is not None:
            self._transport.write(b"0\r\n\r\n")
            self._next(keep)

    def _next(self, keep: bool) -> None:
        """An answer is written: on to the next request."""
        self._answering = False
        if not keep:
            self._end()
            return
        self._turn(_BODY if self._arriving else _IDLE)
        if self._waiting:
            request, keep = self._waiting.popleft()
            if self._paused and len(self._waiting) < MOST_WAITING // 2 and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()
            # through the loop, so that a long row of requests does not become a deep stack
            self._answering = True
            self._front.loop.call_soon(self._answer, request, keep)

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no proper request, and hang up."""
        if self._closing or self._transport is None:
            return
        if self._answering is False:
            response = self._front.refuse(status, message)
            length = b"content-length: %d\r\n" % len(response.body)
            self._transport.write(_head(response, self._front.date, False, length) + response.body)
        self._end()

    def _too_long(self, what: str) -> None:
        self._refuse(413, f"{what} (accepted: {self._front.limits.body_bytes}).")

    def _end(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    # deadlines

    def leave(self) -> None:
        """Close, at once if no request is here or on its way."""
        if self._answering is False and not self._arriving and not self._head_bytes:
            self._end()

    def abort(self) -> None:
        """Cut the connection."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def look(self, now: float) -> None:
        """Let go of a client that is too slow."""
        limits = self._front.limits
        waited = now - self._since
        if self._doing == _IDLE:
            if waited > limits.idle_seconds:
                self._end()
        elif self._doing == _HEAD:
            if waited > limits.head_seconds:
                self._end()
        elif self._doing == _BODY:
            if waited > limits.body_seconds:
                self._refuse(408, f"the body did not arrive within {limits.body_seconds:g} s.")
        elif self._doing == _STALLED and waited > limits.stall_seconds:
            self.abort()

    def _turn(self, doing: int) -> None:
        self._doing, self._since = doing, self._front.loop.time()


_LINES = {
    status: b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode("ascii")) for status in list(HTTPStatus)
}


def _head(response: Response, date: bytes, keep: bool, length: bytes) -> bytes:
    head = b"%bcontent-type: %b\r\n%b%bx-content-type-options: nosniff\r\n" % (
        _LINES[response.status],  # type: ignore[index]
        response.kind,
        length,
        date,
    )
    for name, value in response.headers:
        if name != b"connection":
            head += b"%b: %b\r\n" % (name, value)
    return head + (b"\r\n" if keep else b"connection: close\r\n\r\n")
