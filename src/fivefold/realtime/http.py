"""The HTTP front of endpoints, plain ASGI: every size is bounded before anything is read."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError
from fivefold.features.fields import shown
from fivefold.realtime.bodies import BODY_SECONDS, CLOSE, Receive, Reply, Response
from fivefold.realtime.endpoint import Live
from fivefold.realtime.features_http import FeatureRoutes
from fivefold.realtime.predict_http import predict
from fivefold.realtime.prediction_log import PredictionLog

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

Send = Callable[[dict[str, Any]], Awaitable[None]]


_encode = msgspec.json.Encoder().encode


class App:
    """The ASGI application over live endpoints; `hosts` are the Host names it answers to."""

    def __init__(
        self,
        endpoints: Mapping[str, Live],
        log: PredictionLog,
        *,
        hosts: tuple[str, ...] = LOOPBACK,
        body_seconds: float = BODY_SECONDS,
        features: FeatureRoutes | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._log = log
        self._hosts = hosts
        self._body_seconds = body_seconds
        self._features = features
        self.draining = False
        """Set when it was told to stop: it is not ready any more, and connections close with their next answer."""

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            response = await self._respond(scope, receive)
        except Reply as e:
            response, headers = Response(e.status, _error(e.message, e.hint)), e.headers
        except Exception:  # the edge of the process: one request may fail, the others go on
            traceback.print_exc(file=sys.stderr)
            fault = _error("something is wrong here, not with the request.", "The server's log says what.")
            response = Response(500, fault)
        if self.draining:
            headers = (*headers, CLOSE)
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [
                    (b"content-type", response.kind),
                    (b"content-length", str(len(response.body)).encode()),
                    (b"x-content-type-options", b"nosniff"),
                    *headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": response.body})

    async def _respond(self, scope: Mapping[str, Any], receive: Receive) -> Response:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        # a page of another site could reach a local server under a name of its own (DNS rebinding)
        if _hostname(host) not in self._hosts:
            raise Reply(421, f"this server does not answer to the host {shown(host)}.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and _hostname(origin.partition("://")[2]) not in self._hosts:
            raise Reply(403, f"this server does not answer to pages of {shown(origin)}.")
        path, method = scope["path"], scope["method"]
        if path in ("/health", "/v2/health/live", "/v2/health/ready"):
            _allow(method, "GET", "HEAD")
            return self._health(path)
        if path == "/":
            _allow(method, "GET", "HEAD")
            return Response(200, _encode({"endpoints": {n: _about(e) for n, e in self._endpoints.items()}}))
        if path.startswith("/predict/"):
            _allow(method, "POST")
            name = path.removeprefix("/predict/")
            query = scope.get("query_string", b"")
            return await predict(self._endpoints, name, query, headers, receive, self._body_seconds)
        if self._features is not None and (route := self._features.find(path)) is not None:
            _allow(method, "POST")
            return await route(headers, receive, self._body_seconds)
        raise Reply(404, f"there is nothing at {shown(path)}.", "Ask POST /predict/ENDPOINT, GET / or GET /health.")

    def _health(self, path: str) -> Response:
        if path != "/v2/health/ready":
            return Response(200, _encode({"live": True}))
        waiting = [n for n, e in self._endpoints.items() if e.served is None]
        ready = not waiting and not self.draining
        about = {
            "ready": ready,
            "draining": self.draining,
            "waiting_for_a_champion": waiting,
            "trouble": {n: str(e.trouble) for n, e in self._endpoints.items() if e.trouble},
            "predictions_not_logged": self._log.dropped,
            "log_trouble": self._log.failed or None,
        }
        return Response(200 if ready else 503, _encode(about))


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


def _error(message: str, hint: str) -> bytes:
    return _encode({"error": {"message": message, "hint": hint}})


def _about(live: Live) -> dict[str, Any]:
    version = live.served.version if live.served else None
    try:
        materialised = live.materialised()
    except FivefoldError as e:
        raise Reply(503, e.message, e.hint) from None
    return {
        "model": version.model if version else None,
        "version": version.number if version else None,
        "fields": live.fields,
        "materialized": materialised,
    }
