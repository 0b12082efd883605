"""Whether the server is there, whether it can answer, and what of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fivefold.core.errors import FivefoldError
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.http.replies import Reply
from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.prediction_log.log import PredictionLog

_encode = msgspec.json.Encoder().encode


class HealthRoutes:
    """Liveness, readiness and the list of endpoints; `draining` says whether the server was told to stop.

    `about` tells more of an endpoint for the list.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Live],
        log: PredictionLog,
        draining: Callable[[], bool],
        about: Callable[[str], Mapping[str, Any]] = lambda name: {},
    ) -> None:
        self._about_more = about
        self._endpoints = endpoints
        self._log = log
        self._draining = draining

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [
            Route("GET", "/health", self._live, Permission.PUBLIC),
            Route("GET", "/ping", self._live, Permission.PUBLIC),
            Route("GET", "/v2/health/live", self._live, Permission.PUBLIC),
            Route("GET", "/v2/health/ready", self._ready, Permission.PUBLIC),
            Route("GET", "/", self._list, Permission.READ),
        ]

    async def _live(self, request: Request) -> Response:
        return Response(200, _encode({"live": True}))

    async def _ready(self, request: Request) -> Response:
        waiting = [n for n, e in self._endpoints.items() if e.served is None]
        ready = not waiting and not self._draining()
        about = {
            "ready": ready,
            "draining": self._draining(),
            "waiting_for_a_champion": waiting,
            "trouble": {n: str(e.trouble) for n, e in self._endpoints.items() if e.trouble},
            "predictions_not_logged": self._log.dropped,
            "predictions_left_out": {reason: count for reason, count in self._log.left_out.items() if count},
            "predictions_logged_one_of": self._log.every,
            "log_trouble": self._log.failed or None,
        }
        return Response(200 if ready else 503, _encode(about))

    async def _list(self, request: Request) -> Response:
        return Response(
            200, _encode({"endpoints": {n: _about(e) | dict(self._about_more(n)) for n, e in self._endpoints.items()}})
        )


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
