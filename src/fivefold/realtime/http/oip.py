"""The Open Inference Protocol v2 over HTTP; a model is an endpoint, its version the one that answers now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError, Unsupported
from fivefold.realtime.batching.gate import under
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.named import named
from fivefold.realtime.endpoints.predictor import Predict
from fivefold.realtime.http.http1 import Header
from fivefold.realtime.http.replies import Reply
from fivefold.realtime.http.routes import Handler, Permission, Request, Response, Route
from fivefold.realtime.protocols import oip_about, oip_rest
from fivefold.realtime.protocols.batch import Signature
from fivefold.realtime.protocols.bounds import deflated, inflated

OCTETS = b"application/octet-stream"
SMALLEST_COMPRESSED = 1024
"""Bytes from which on an answer is compressed for a client that takes it so."""

_encode = msgspec.json.Encoder().encode
_MODEL = "/v2/models/{model}"
_REFUSED = {
    "/v2/systemsharedmemory/{rest}": "shared memory",
    "/v2/cudasharedmemory/{rest}": "shared memory",
    "/v2/trace/setting": "tracing",
    f"{_MODEL}/trace/setting": "tracing",
    "/v2/logging": "changing the log",
    "/v2/repository/models/{model}/load": "loading a model (`fivefold promote` changes what is served)",
    "/v2/repository/models/{model}/unload": "unloading a model",
}


class OipRoutes:
    """Metadata, readiness, inference; what is not supported says so."""

    def __init__(self, endpoints: Mapping[str, Live], predict: Predict) -> None:
        self._endpoints = endpoints
        self._predict = predict

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        each: list[tuple[str, str, Handler, Permission]] = [
            ("GET", "", self._metadata, Permission.READ),
            ("GET", "/ready", self._model_ready, Permission.READ),
            ("GET", "/config", self._config, Permission.READ),
            ("GET", "/stats", self._statistics, Permission.READ),
            ("POST", "/infer", self._infer, Permission.PREDICT),
        ]
        refused = [
            Route(method, pattern, _unsupported(what), Permission.OPERATE)
            for pattern, what in _REFUSED.items()
            for method in ("GET", "POST")
        ]
        return [
            Route("GET", "/v2", self._server, Permission.READ),
            Route("GET", "/v2/", self._server, Permission.READ),
            Route("GET", "/v2/models/stats", self._all_statistics, Permission.READ),
            Route("POST", "/v2/repository/index", self._index, Permission.READ),
            *[Route(m, _MODEL + tail, handler, p) for m, tail, handler, p in each],
            *[Route(m, _MODEL + "/versions/{version}" + tail, handler, p) for m, tail, handler, p in each],
            *refused,
        ]

    def _found(self, request: Request) -> tuple[Live, Signature]:
        live = named(self._endpoints, request.params["model"], "model")
        signature = live.signature
        signature.require_version(request.params.get("version", ""))
        return live, signature

    async def _server(self, request: Request) -> Response:
        return Response(200, _encode(oip_about.server()))

    async def _metadata(self, request: Request) -> Response:
        return Response(200, _encode(oip_about.model(self._found(request)[1])))

    async def _model_ready(self, request: Request) -> Response:
        _, signature = self._found(request)
        return Response(200, _encode({"name": signature.endpoint, "ready": True}))

    async def _config(self, request: Request) -> Response:
        return Response(200, _encode(oip_about.config(self._found(request)[1])))

    async def _statistics(self, request: Request) -> Response:
        live, signature = self._found(request)
        return Response(200, _encode({"model_stats": [oip_about.statistics(signature, live.counts)]}))

    async def _all_statistics(self, request: Request) -> Response:
        return Response(200, _encode({"model_stats": all_statistics(self._endpoints)}))

    async def _index(self, request: Request) -> Response:
        body = request.body
        try:
            ready = bool(body) and bool(msgspec.json.decode(body, type=dict[str, Any]).get("ready"))
        except (ValueError, RecursionError) as e:
            raise Reply(400, f"the body is not a JSON object: {e}.") from None
        return Response(200, _encode(index(self._endpoints, ready)))

    async def _infer(self, request: Request) -> Response:
        started = time.perf_counter_ns()
        live, signature = self._found(request)
        headers = request.headers
        body = inflated(request.body, headers.get(b"content-encoding", b"").decode("latin-1").strip().lower())
        head = headers.get(b"inference-header-content-length", b"")
        asked = oip_rest.decode(body, head, signature, request.params.get("version", ""), started)
        answer, length = oip_rest.encode(await self._predict(live, under(asked.batch, headers, request.stages)), asked)
        more: tuple[Header, ...] = ()
        if length is not None:
            more = ((b"inference-header-content-length", str(length).encode()),)
        encoding = _accepted(headers.get(b"accept-encoding", b""))
        if encoding and len(answer) >= SMALLEST_COMPRESSED:
            answer = deflated(answer, encoding)
            more = (*more, (b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding"))
        kind = b"application/json" if length is None else OCTETS
        return Response(200, answer, kind, more)


def index(endpoints: Mapping[str, Live], ready: bool) -> list[dict[str, str]]:
    """The repository index: all endpoints, or only those that are ready."""
    out = []
    for name, live in endpoints.items():
        try:
            out.append(oip_about.index_entry(name, live.signature, ""))
        except FivefoldError as e:
            if not ready:
                out.append(oip_about.index_entry(name, None, str(e)))
    return out


def all_statistics(endpoints: Mapping[str, Live]) -> list[dict[str, Any]]:
    """Statistics of all endpoints that have a version."""
    return [oip_about.statistics(e.signature, e.counts) for e in endpoints.values() if e.served is not None]


def _accepted(header: bytes) -> str:
    """The first encoding of a header that is written here; empty when there is none."""
    for word in header.decode("latin-1").lower().split(","):
        name, _, quality = word.partition(";")
        if name.strip() in ("gzip", "deflate") and quality.replace(" ", "").rstrip("0") not in ("q=", "q=0."):
            return name.strip()
    return ""


def _unsupported(what: str) -> Handler:
    async def refuse(request: Request) -> Response:
        raise Unsupported(f"{what} is not supported here.")

    return refuse
