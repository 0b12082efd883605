"""The HTTP front of endpoints, plain ASGI: every size is bounded before anything is read."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError
from fivefold.features.fields import shown
from fivefold.realtime.bodies import BODY_SECONDS, CLOSE, Receive, Reply, refusal
from fivefold.realtime.endpoint import Live
from fivefold.realtime.features_http import FeatureRoutes
from fivefold.realtime.health_http import HealthRoutes
from fivefold.realtime.mlflow_http import MlflowRoutes
from fivefold.realtime.oip_http import OipRoutes
from fivefold.realtime.predict_http import PredictRoutes
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.realtime.predictor import Predict, predict
from fivefold.realtime.routes import Header, Request, Response, Routes, Streamed
from fivefold.realtime.tfserving_http import TfServingRoutes

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

Send = Callable[[dict[str, Any]], Awaitable[None]]

_encode = msgspec.json.Encoder().encode
_TEXTS = ("/v2", "/v1/")
_MLFLOW = ("/invocations", "/endpoints/", "/api/2.0/", "/ping", "/version")
_MLFLOW_CODES = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST", 503: "TEMPORARILY_UNAVAILABLE"}


class App:
    """The ASGI application over live endpoints; `hosts` are the Host names it answers to.

    `predict` answers a batch for an endpoint, whatever format it came in.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Live],
        log: PredictionLog,
        *,
        hosts: tuple[str, ...] = LOOPBACK,
        body_seconds: float = BODY_SECONDS,
        features: FeatureRoutes | None = None,
        predict: Predict = predict,
    ) -> None:
        self._hosts = hosts
        self._body_seconds = body_seconds
        health = HealthRoutes(endpoints, log, lambda: self.draining)
        self.routes = Routes(
            [
                *health.routes,
                *PredictRoutes(endpoints, predict).routes,
                *OipRoutes(endpoints, predict).routes,
                *TfServingRoutes(endpoints, predict).routes,
                *MlflowRoutes(endpoints, predict).routes,
                *(features.routes if features is not None else []),
            ]
        )
        self.draining = False
        """Set when it was told to stop: it is not ready any more, and connections close with their next answer."""

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            response = await self._respond(scope, receive)
        except Reply as e:
            response = _told(scope["path"], e)
        except FivefoldError as e:
            response = _told(scope["path"], refusal(e))
        except Exception:  # the edge of the process: one request may fail, the others go on
            response = _told(scope["path"], _fault())
        last = (CLOSE,) if self.draining else ()
        if isinstance(response, Streamed):
            await _stream(response, last, receive, send)
            return
        status, body, kind, headers = response
        length = (b"content-length", str(len(body)).encode())
        await _start(send, status, kind, (length, *headers, *last))
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Mapping[str, Any], receive: Receive) -> Response | Streamed:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        # a page of another site could reach a local server under a name of its own (DNS rebinding)
        if _hostname(host) not in self._hosts:
            raise Reply(421, f"this server does not answer to the host {shown(host)}.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and _hostname(origin.partition("://")[2]) not in self._hosts:
            raise Reply(403, f"this server does not answer to pages of {shown(origin)}.")
        path = scope["path"]
        found = self.routes.find(scope["method"], path)
        if found is None:
            raise Reply(404, f"there is nothing at {shown(path)}.", "Ask POST /predict/ENDPOINT, GET / or GET /health.")
        route, params = found
        query = scope.get("query_string", b"")
        return await route.handler(Request(params, query, headers, receive, self._body_seconds))


async def _start(send: Send, status: int, kind: bytes, headers: tuple[Header, ...]) -> None:
    fixed = ((b"content-type", kind), (b"x-content-type-options", b"nosniff"))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})


async def _stream(response: Streamed, headers: tuple[Header, ...], receive: Receive, send: Send) -> None:
    """Send pieces as they come, until there are no more or the client is gone."""
    await _start(send, 200, response.kind, ((b"cache-control", b"no-store"), *headers))
    gone = asyncio.ensure_future(_gone(receive))
    try:
        async for piece in response.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            # others are answered between pieces, and a client that left is noticed
            await asyncio.sleep(0)
            if gone.done():
                return
    except Exception:  # the edge of the process: a stream that breaks off has no end, which its reader sees
        traceback.print_exc(file=sys.stderr)
        raise
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


def _fault() -> Reply:
    traceback.print_exc(file=sys.stderr)
    return Reply(500, "something is wrong here, not with the request.", "The server's log says what.")


def _told(path: str, reply: Reply) -> Response:
    """An error as the clients of a path read it."""
    text = f"{reply.message} {reply.hint}".strip()
    body: dict[str, Any] = {"error": {"message": reply.message, "hint": reply.hint}}
    if path.startswith(_TEXTS):
        body = {"error": text}
    elif path.startswith(_MLFLOW):
        body = {"error_code": _MLFLOW_CODES.get(reply.status, "INTERNAL_ERROR"), "message": text}
    return Response(reply.status, _encode(body), headers=reply.headers)


def _hostname(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.split(":")[0].lower()
