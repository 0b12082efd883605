"""`GET /metrics`: the numbers of all workers, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.realtime.http.replies import Reply
from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.telemetry.exposition import OPENMETRICS, PROMETHEUS, text_of, wants_openmetrics
from fivefold.realtime.telemetry.families import Sample

PATH = "/metrics"


class MetricsRoutes:
    """Metrics as text; `measure` gives them. They name endpoints, versions and features: it takes `read`."""

    def __init__(self, measure: Callable[[], list[Sample]]) -> None:
        self._measure = measure

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [Route("GET", PATH, self._metrics, Permission.READ)]

    async def _metrics(self, request: Request) -> Response:
        openmetrics = wants_openmetrics(request.headers.get(b"accept", b""))
        try:
            samples = self._measure()
        except OSError as e:
            raise Reply(503, f"the numbers of the workers cannot be shared: {e.strerror or e}.") from None
        return Response(200, text_of(samples, openmetrics), OPENMETRICS if openmetrics else PROMETHEUS)
