"""The HTTP front of endpoints, plain ASGI: every size is bounded before anything is read."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from fivefold.core.errors import Invalid, NotFound
from fivefold.realtime.endpoint import Answer, Live

MOST_BYTES = 8 << 20
MOST_ROWS = 10_000
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Reply(Exception):
    """An error answer: status, message, and how to mend it."""

    def __init__(
        self, status: int, message: str, hint: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers = status, message, hint, headers


class Answers(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request gets: the model version, and one answer a row."""

    model: str
    version: int
    key: str
    rows: list[Answer]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class App:
    """The ASGI application over live endpoints; `hosts` are the Host names it answers to."""

    def __init__(self, endpoints: Mapping[str, Live], hosts: tuple[str, ...] = LOOPBACK) -> None:
        self._endpoints = endpoints
        self._hosts = hosts
        self.draining = False

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            status, body = await self._respond(scope, receive)
            headers: tuple[tuple[bytes, bytes], ...] = ()
        except Reply as e:
            status, headers = e.status, e.headers
            body = _encode({"error": {"message": e.message, "hint": e.hint}})
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    (b"x-content-type-options", b"nosniff"),
                    *headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Mapping[str, Any], receive: Receive) -> tuple[int, bytes]:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        # a page of another site could reach a local server under a name of its own (DNS rebinding)
        if _hostname(host) not in self._hosts:
            raise Reply(421, f"this server does not answer to the host {host!r}.")
        path, method = scope["path"], scope["method"]
        if path in ("/health", "/v2/health/live", "/v2/health/ready"):
            _allow(method, "GET", "HEAD")
            return self._health(path)
        if path == "/":
            _allow(method, "GET", "HEAD")
            return 200, _encode({"endpoints": {n: _about(e) for n, e in self._endpoints.items()}})
        if path.startswith("/predict/"):
            _allow(method, "POST")
            return await self._predict(path.removeprefix("/predict/"), headers, receive)
        raise Reply(404, f"there is nothing at {path!r}.", "Ask POST /predict/ENDPOINT, GET / or GET /health.")

    def _health(self, path: str) -> tuple[int, bytes]:
        if path == "/v2/health/ready":
            waiting = [n for n, e in self._endpoints.items() if e.served is None]
            ready = not waiting and not self.draining
            return 200 if ready else 503, _encode({"ready": ready, "waiting_for_a_champion": waiting})
        return 200, _encode({"live": True})

    async def _predict(self, name: str, headers: Mapping[bytes, bytes], receive: Receive) -> tuple[int, bytes]:
        started = time.perf_counter_ns()
        live = self._endpoints.get(name)
        if live is None:
            missing = NotFound.named("endpoint", name, self._endpoints)
            raise Reply(404, missing.message, missing.hint)
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Reply(415, f"the content type is {kind.decode('latin-1')!r}, not application/json.")
        rows, alone = _rows(await _body(headers, receive))
        if live.served is None:
            trouble = live.trouble or Invalid(f"the model of the endpoint {name!r} has no champion yet.")
            raise Reply(503, trouble.message, trouble.hint)
        served, answers = live.answer(rows, started)
        if alone and answers[0].error is not None:
            raise Reply(400, answers[0].error["message"], answers[0].error["hint"])
        version = served.version
        return 200, _encode(Answers(version.model, version.number, version.key, answers))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


def _allow(method: str, *methods: str) -> None:
    if method not in methods:
        raise Reply(
            405,
            f"{method} is not accepted here.",
            f"Use {' or '.join(methods)}.",
            ((b"allow", ", ".join(methods).encode()),),
        )


def _hostname(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.split(":")[0].lower()


def _about(live: Live) -> dict[str, Any]:
    version = live.served.version if live.served else None
    return {
        "model": version.model if version else None,
        "version": version.number if version else None,
        "fields": live.fields,
    }


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    stated = headers.get(b"content-length", b"0")
    if not stated.isdigit() or int(stated) > MOST_BYTES:
        raise Reply(
            413, f"the body has {stated.decode('latin-1')} bytes (accepted: {MOST_BYTES}).", "Send fewer rows at once."
        )
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Reply(400, "the client went away.")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MOST_BYTES:
            raise Reply(413, f"the body has more than {MOST_BYTES} bytes.", "Send fewer rows at once.")
        if not message.get("more_body"):
            return b"".join(pieces)


def _rows(body: bytes) -> tuple[list[Any], bool]:
    """The rows of a request, and whether it is a single one."""
    try:
        given = _decode(body)
    except (msgspec.DecodeError, RecursionError) as e:
        raise Reply(400, f"the body is not JSON: {e}.", 'Send {"field": value, …} or {"rows": [{…}, …]}.') from None
    if isinstance(given, dict) and set(given) == {"rows"} and isinstance(given["rows"], list):
        if not 0 < len(given["rows"]) <= MOST_ROWS:
            raise Reply(400, f"rows holds {len(given['rows'])} rows (accepted: 1 to {MOST_ROWS}).")
        return given["rows"], False
    if not isinstance(given, dict):
        raise Reply(
            400,
            f"the body is a {type(given).__name__}, not an object.",
            'Send {"field": value, …} or {"rows": [{…}, …]}.',
        )
    return [given], True
