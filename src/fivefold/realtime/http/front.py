"""The HTTP front of endpoints: requests to the handlers of their routes, errors to what their clients read."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from fivefold.access.authenticate import Credentials
from fivefold.core.errors import FivefoldError
from fivefold.features.fields import shown
from fivefold.realtime.batching.gate import Gate
from fivefold.realtime.batching.waiting import Later, Waiting, resumed
from fivefold.realtime.door import OPEN, Door
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.predictor import Predict, predict
from fivefold.realtime.http import http1
from fivefold.realtime.http.features import FeatureRoutes
from fivefold.realtime.http.feedback import FeedbackRoutes
from fivefold.realtime.http.health import HealthRoutes
from fivefold.realtime.http.mlflow import MlflowRoutes
from fivefold.realtime.http.oip import OipRoutes
from fivefold.realtime.http.predict import PredictRoutes
from fivefold.realtime.http.replies import Reply, refusal
from fivefold.realtime.http.routes import Permission, Request, Response, Routes
from fivefold.realtime.http.sites import LOOPBACK, Sites
from fivefold.realtime.http.tfserving import TfServingRoutes
from fivefold.realtime.http.why import WhyRoutes
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.telemetry.metrics_http import MetricsRoutes
from fivefold.realtime.telemetry.watching import Visit, Watch

_encode = msgspec.json.Encoder().encode
_TEXTS = ("/v2", "/v1/")
_MLFLOW = ("/invocations", "/endpoints/", "/api/2.0/", "/ping", "/version")
_MLFLOW_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


class App:
    """The application over live endpoints.

    `hosts` are the Host names it answers to, `origins` the web pages; `door` says who may do what.

    `predict` answers a batch for an endpoint, whatever format it came in; `gate` refuses requests before they are
    read; `about` tells more of an endpoint for the list of them; `watch` sees every request and its answer.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Live],
        log: PredictionLog,
        *,
        hosts: tuple[str, ...] = LOOPBACK,
        origins: tuple[str, ...] = (),
        door: Door = OPEN,
        features: FeatureRoutes | None = None,
        why: WhyRoutes | None = None,
        feedback: FeedbackRoutes | None = None,
        predict: Predict = predict,
        gate: Gate | None = None,
        about: Callable[[str], Mapping[str, Any]] = lambda name: {},
        metrics: MetricsRoutes | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.watch = watch or Watch()
        self._gate = gate
        self._sites, self._door = Sites(hosts, origins), door
        health = HealthRoutes(endpoints, log, lambda: self.draining, about)
        self.routes = Routes(
            [
                *health.routes,
                *PredictRoutes(endpoints, predict).routes,
                *OipRoutes(endpoints, predict).routes,
                *TfServingRoutes(endpoints, predict).routes,
                *MlflowRoutes(endpoints, predict).routes,
                *(features.routes if features is not None else []),
                *(feedback.routes if feedback is not None else []),
                *(metrics.routes if metrics is not None else []),
                *(why.routes if why is not None else []),
            ]
        )
        self.draining = False
        """Set when it was told to stop: it is not ready any more."""

    def __call__(self, asked: http1.Request) -> Response | Later | Awaitable[Response]:
        """Answer a request; at once, where nothing has to be waited for."""
        answering = self._answer(asked)
        try:
            # until it first waits it needs no task of its own, and most requests never do
            waits_for = answering.send(None)
        except StopIteration as done:
            found: Response = done.value
            return found
        if isinstance(waits_for, Waiting):
            return Later(answering, waits_for)
        return resumed(answering, waits_for)

    def refused(self, status: int, message: str) -> Response:
        """The answer to what is no proper request."""
        self.watch.refused(status)
        return _told("", Reply(status, message))

    async def _answer(self, asked: http1.Request) -> Response:
        path = unquote(asked.path) if "%" in asked.path else asked.path
        visit = self.watch.begin(asked)
        try:
            found = await self._respond(asked, path, visit)
        except Reply as e:
            found = _told(path, e)
        except FivefoldError as e:
            found = _told(path, refusal(e))
        except Exception:  # the edge of the process: one request may fail, the others go on
            found = _told(path, _fault())
        except BaseException:  # the client has left
            self.watch.left(visit, asked)
            raise
        found = self.watch.end(visit, asked, found)
        return self._sites.shared(found, asked.headers) if self._sites.origins else found

    async def _respond(self, asked: http1.Request, path: str, visit: Visit) -> Response:
        headers = asked.headers
        self._sites.require(headers)
        if asked.method == "OPTIONS" and (found := self._sites.preflight(headers)) is not None:
            return found
        matched = self.routes.find(asked.method, path)
        if matched is None:
            raise Reply(404, f"there is nothing at {shown(path)}.", "Ask POST /predict/ENDPOINT, GET / or GET /health.")
        route, params = matched
        visit.route, visit.params = route, params
        given = Credentials(headers.get(b"authorization", b""), asked.certificate, asked.peer)
        principal = self._door.known(route.permission, given)
        if principal is None:
            principal = await self._door.admit(route.permission, given)
        visit.principal = principal
        if self._gate is not None and route.permission is Permission.PREDICT:
            self._gate.require(params, headers, asked.peer, principal)
        if visit.stages is not None:
            visit.stages.admitted = time.perf_counter_ns()
        return await route.handler(
            Request(params, asked.query, headers, asked.body, asked.peer, principal, visit.stages)
        )


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
    if reply.retry_ms is not None:
        body["retry_after_ms"] = reply.retry_ms
    return Response(reply.status, _encode(body), headers=reply.headers)
