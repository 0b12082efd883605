"""What a request brings, bounded in size and time before it is looked at."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Unavailable, Unsupported
from fivefold.features.fields import shown
from fivefold.realtime.protocols.bounds import MOST_BYTES, Expired, TooLarge

BODY_SECONDS = 10.0
"""How long a request may take to send its body."""

CLOSE = (b"connection", b"close")

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

JSON = b"application/json"
_STATUS = {TooLarge: 413, Expired: 504, Invalid: 400, NotFound: 404, Conflict: 409, Unavailable: 503, Unsupported: 501}


class Reply(Exception):
    """An error answer: status, message, and how to mend it."""

    def __init__(
        self, status: int, message: str, hint: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers = status, message, hint, headers


def refusal(error: FivefoldError) -> Reply:
    """An error of ours as an answer: its class says what the client can do about it."""
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
    return Reply(status, error.message, error.hint)


def require_json(headers: Mapping[bytes, bytes], *others: bytes) -> None:
    """Raise Reply for a content type that is neither JSON nor one of the others."""
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind not in (JSON, *others):
        raise Reply(415, f"the content type is {kind.decode('latin-1')!r}, not application/json.")


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, seconds: float) -> bytes:
    """The whole body, which must arrive within `seconds`. Raises Reply for one that is too long, too slow or cut."""
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit() or int(stated) > MOST_BYTES:
        raise Reply(
            413,
            f"the body has {shown(stated.decode('latin-1'))} bytes (accepted: {MOST_BYTES}).",
            "Send fewer rows at once.",
            (CLOSE,),
        )
    coming = _received(receive)
    try:
        # most bodies come together with their head: then nothing is waited for, and no timer is needed
        waits_for = coming.send(None)
    except StopIteration as done:
        return bytes(done.value)
    try:
        async with asyncio.timeout(seconds):
            return bytes(await _resumed(coming, waits_for))
    except TimeoutError:
        raise Reply(408, f"the body did not arrive within {seconds:g} s.", "Send it at once.", (CLOSE,)) from None


@types.coroutine
def _resumed(started: Coroutine[Any, Any, bytes], waits_for: Any) -> Generator[Any, Any, bytes]:
    """What a coroutine gives that was started, and waits for something."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as e:
                waits_for = started.throw(e)
            else:
                waits_for = started.send(sent)
    except StopIteration as done:
        return bytes(done.value)


async def _received(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Reply(400, "the client went away.")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MOST_BYTES:
            raise Reply(413, f"the body has more than {MOST_BYTES} bytes.", "Send fewer rows at once.", (CLOSE,))
        if not message.get("more_body"):
            return b"".join(pieces)
