"""The application as ASGI 3 has it, for servers of other people that stand before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from fivefold.realtime.http.http1 import CLOSE, Handler, Pending, Request, Response
from fivefold.realtime.protocols.bounds import MOST_BYTES

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SOMEWHERE = "unknown"
"""The peer of a request of which the server does not say where it comes from: no address of this machine."""


class Asgi:
    """An ASGI application over a handler; `refuse` makes the answer to a body that is too long, `ended` is called once.

    A client that leaves is not answered: what has not been computed for it never is.
    """

    def __init__(
        self,
        handler: Handler,
        refuse: Callable[[int, str], Response],
        ended: Callable[[], None] = lambda: None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._handler, self._refuse, self._ended, self._most = handler, refuse, ended, most_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._http(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                # it waits for disks, so not in the loop
                await asyncio.get_running_loop().run_in_executor(None, self._ended)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await self._body(receive)
        if body is None:
            return
        if len(body) > self._most:
            told = f"the body has more than {self._most} bytes (accepted: {self._most})."
            await _sent(self._refuse(413, told), scope, send)
            return
        found = self._handler(_request(scope, body))
        response = found if isinstance(found, Response) else await _unless_left(found, receive)
        if response is not None:
            await _sent(response, scope, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The body, or what of it shows that it is too long; None when the client has left."""
        pieces, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._most or not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _request(scope: Message, body: bytes) -> Request:
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b", " + value if name in headers else value
    peer = scope.get("client") or (SOMEWHERE, 0)
    raw = scope.get("raw_path") or scope["path"].encode()
    return Request(
        scope["method"],
        raw.partition(b"?")[0].decode("latin-1"),
        scope.get("query_string", b""),
        headers,
        body,
        str(peer[0]) or SOMEWHERE,
    )


async def _unless_left(found: Pending | Awaitable[Response], receive: Receive) -> Response | None:
    """What is awaited, None when the client leaves first."""
    answering: asyncio.Future[Response]
    then = getattr(found, "then", None)
    if then is not None:
        # at once: what is pending may be there at the end of this turn of the loop
        answering = asyncio.get_running_loop().create_future()
        then(answering.set_result)
    else:
        answering = asyncio.ensure_future(found)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return answering.result() if answering.done() else None
    finally:
        leaving.cancel()
        if not answering.done():
            answering.cancel()
            if then is not None:
                cast(Pending, found).cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _sent(response: Response, scope: Message, send: Send) -> None:
    headers = [(b"content-type", response.kind), (b"x-content-type-options", b"nosniff")]
    headers += [header for header in response.headers if header[0] != CLOSE[0]]
    if response.stream is None:
        headers.append((b"content-length", b"%d" % len(response.body)))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        if scope["method"] != "HEAD":
            async for piece in response.stream:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        close = getattr(response.stream, "aclose", None)
        if close is not None:
            await close()
    await send({"type": "http.response.body", "body": b""})
