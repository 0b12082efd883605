"""MLflow's scoring server and what its deployments client asks for."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from fivefold import __version__
from fivefold.core.errors import NotFound
from fivefold.realtime.batching.gate import under
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.named import named
from fivefold.realtime.endpoints.predictor import Predict
from fivefold.realtime.http.http1 import JSON
from fivefold.realtime.http.replies import Reply, require_json
from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.protocols import mlflow

_encode = msgspec.json.Encoder().encode


class MlflowRoutes:
    """`/invocations` where one endpoint is served, `/endpoints/NAME/invocations` for any."""

    def __init__(self, endpoints: Mapping[str, Live], predict: Predict) -> None:
        self._endpoints = endpoints
        self._predict = predict

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [
            Route("GET", "/version", self._version, Permission.PUBLIC),
            Route("POST", "/invocations", self._on_invocations, Permission.PREDICT),
            Route("POST", "/endpoints/{endpoint}/invocations", self._on_invocations, Permission.PREDICT),
            Route("GET", "/api/2.0/endpoints/", self._list, Permission.READ),
            Route("GET", "/api/2.0/endpoints", self._list, Permission.READ),
            Route("GET", "/api/2.0/endpoints/{endpoint}", self._get, Permission.READ),
        ]

    async def _version(self, request: Request) -> Response:
        return Response(200, f"fivefold {__version__}".encode(), b"text/plain; charset=utf-8")

    async def _list(self, request: Request) -> Response:
        ready = [mlflow.endpoint(e.signature) for e in self._endpoints.values() if e.served is not None]
        return Response(200, _encode({"endpoints": ready}))

    async def _get(self, request: Request) -> Response:
        live = named(self._endpoints, request.params["endpoint"])
        return Response(200, _encode(mlflow.endpoint(live.signature)))

    async def _on_invocations(self, request: Request) -> Response:
        started = time.perf_counter_ns()
        live = self._asked(request.params.get("endpoint"))
        kind, _, parameters = request.headers.get(b"content-type", b"").lower().partition(b";")
        require_json(request.headers, mlflow.CSV)
        charset = parameters.strip().partition(b"charset=")[2].strip(b' "')
        if charset not in (b"", b"utf-8", b"utf8"):
            raise Reply(415, f"the charset is {charset.decode('latin-1')[:40]!r} (accepted: utf-8).")
        signature = live.signature
        decode = mlflow.decode_csv if kind.strip() == mlflow.CSV else mlflow.decode_json
        batch = decode(request.body, signature, started)
        under(batch, request.headers, request.stages)
        return Response(200, mlflow.encode(await self._predict(live, batch)), JSON)

    def _asked(self, name: str | None) -> Live:
        if name is not None:
            return named(self._endpoints, name)
        if len(self._endpoints) != 1:
            raise NotFound(
                f"/invocations is there where one endpoint is served; here are {len(self._endpoints)}.",
                hint=f"Ask /endpoints/NAME/invocations (have: {', '.join(sorted(self._endpoints)) or 'none'}).",
            )
        return next(iter(self._endpoints.values()))
