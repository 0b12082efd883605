"""What sees each request and its answer: counted by route and status, logged and traced where that is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from fivefold.core.identity import NOBODY, Principal
from fivefold.realtime.http.http1 import Header, Request, Response
from fivefold.realtime.http.routes import Route
from fivefold.realtime.telemetry.access_log import AccessLog, Line, request_id
from fivefold.realtime.telemetry.families import Sample
from fivefold.realtime.telemetry.stages import Stages

if TYPE_CHECKING:
    from fivefold.realtime.telemetry.tracing import Tracing

LEFT = 499
"""The status in the access log of a request whose client left before it was answered."""


class Visit:
    """What is known of a request on its way. What stays as it is costs nothing: most have a route alone."""

    began = 0
    route: Route | None = None
    params: Mapping[str, str] = {}
    principal: Principal = NOBODY
    id = ""
    stages: Stages | None = None


class Watch:
    """Sees requests. `access` logs them, `tracing` makes spans of those that are traced."""

    def __init__(self, access: AccessLog | None = None, tracing: Tracing | None = None) -> None:
        self._access, self._tracing = access, tracing
        self._more = access is not None or tracing is not None
        self._http: dict[tuple[str, str, int], int] = {}
        self._grpc: dict[tuple[str, str], int] = {}
        self._calling = threading.Lock()

    def samples(self) -> list[Sample]:
        """Requests by route and status, and lines of the access log."""
        out = [Sample("fivefold_http_requests", (m, r, str(s)), n) for (m, r, s), n in list(self._http.items())]
        out += [Sample("fivefold_grpc_requests", key, n) for key, n in list(self._grpc.items())]
        return out if self._access is None else out + self._access.samples()

    def begin(self, asked: Request) -> Visit:
        """A request is here."""
        visit = Visit()
        if self._more:
            visit.began = time.perf_counter_ns()
            if self._access is not None:
                visit.id = request_id(asked.headers.get(b"x-request-id"))
            if self._tracing is not None:
                visit.stages = self._tracing.begin(asked.method, _carrier(asked.headers))
        return visit

    def end(self, visit: Visit, asked: Request, response: Response) -> Response:
        """It has an answer, which is given back with what the client is to know of it."""
        route = visit.route
        key = ("", "", response.status) if route is None else (route.method, route.pattern, response.status)
        counts = self._http
        counts[key] = counts.get(key, 0) + 1
        if not self._more:
            return response
        more: tuple[Header, ...] = ((b"x-request-id", visit.id.encode()),) if visit.id else ()
        if visit.stages is not None:
            visit.stages.ended = time.perf_counter_ns()
            more += ((b"traceresponse", _traceparent(visit.stages)),)
        if response.stream is None:
            self._tell(visit, asked, response.status, len(response.body))
            return response._replace(headers=(*response.headers, *more))
        told = _counted(response.stream, lambda sent: self._tell(visit, asked, response.status, sent))
        return response._replace(headers=(*response.headers, *more), stream=told)

    def refused(self, status: int) -> None:
        """What came was no proper request."""
        self._http["", "", status] = self._http.get(("", "", status), 0) + 1

    def left(self, visit: Visit, asked: Request) -> None:
        """Its client left before it was answered."""
        if self._more:
            self._tell(visit, asked, LEFT, 0)

    def begin_call(self, path: str, metadata: Any) -> Visit:
        """A call of gRPC is here."""
        visit = Visit()
        if self._more:
            visit.began = time.perf_counter_ns()
            sent = {key: value for key, value in metadata or () if isinstance(value, str)}
            if self._access is not None:
                visit.id = request_id(sent["x-request-id"].encode() if "x-request-id" in sent else None)
            if self._tracing is not None:
                visit.stages = self._tracing.begin(path[1:], sent)
        return visit

    def end_call(self, visit: Visit, path: str, peer: str, code: str) -> None:
        """It has an answer, or a status that says why not."""
        with self._calling:
            self._grpc[path, code] = self._grpc.get((path, code), 0) + 1
        if self._access is not None:
            ms = (time.perf_counter_ns() - visit.began) / 1e6
            who = str(visit.principal)
            self._access.put(Line(_now(), peer, who, "gRPC", path, "", code, 0, round(ms, 3), visit.id))
        if visit.stages is not None and self._tracing is not None:
            visit.stages.ended = time.perf_counter_ns()
            service, _, method = path[1:].rpartition("/")
            told = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "rpc.grpc.status": code}
            self._tracing.end(visit.stages, path[1:], code != "OK", told)

    def _tell(self, visit: Visit, asked: Request, status: int, sent: int) -> None:
        route = "" if visit.route is None else visit.route.pattern
        if self._access is not None:
            params = visit.params
            endpoint = (params.get("endpoint") or params.get("model") or "")[:200]
            ms, who = (time.perf_counter_ns() - visit.began) / 1e6, str(visit.principal)
            method = asked.method
            self._access.put(
                Line(_now(), asked.peer, who, method, route, endpoint, status, sent, round(ms, 3), visit.id)
            )
        if visit.stages is not None and self._tracing is not None:
            told: dict[str, str | int] = {
                "http.request.method": asked.method,
                "http.route": route,
                "http.response.status_code": status,
            }
            self._tracing.end(visit.stages, f"{asked.method} {route}".strip(), status >= 500, told)


def _now() -> int:
    return time.time_ns() // 1000


def _carrier(headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
    parent = headers.get(b"traceparent")
    if parent is None:
        return {}
    return {"traceparent": parent.decode("latin-1"), "tracestate": headers.get(b"tracestate", b"").decode("latin-1")}


def _traceparent(stages: Stages) -> bytes:
    from fivefold.realtime.telemetry.tracing import traceparent

    return traceparent(stages).encode()


async def _counted(stream: AsyncIterator[bytes], done: Callable[[int], None]) -> AsyncIterator[bytes]:
    sent = 0
    try:
        async for piece in stream:
            sent += len(piece)
            yield piece
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
        done(sent)
