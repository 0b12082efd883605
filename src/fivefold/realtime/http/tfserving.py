"""TensorFlow Serving's REST: `POST /v1/models/ENDPOINT:predict`, and what it tells of a model."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fivefold.core.errors import NotFound, Unsupported
from fivefold.realtime.batching.gate import under
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.named import named
from fivefold.realtime.endpoints.predictor import Predict
from fivefold.realtime.http.routes import Handler, Permission, Request, Response, Route
from fivefold.realtime.protocols import tfserving
from fivefold.realtime.protocols.batch import Signature
from fivefold.workspace.served import CHAMPION

_MODEL = "/v1/models/{model}"


class TfServingRoutes:
    """Prediction, status and metadata; a label is `champion`, or there is none."""

    def __init__(self, endpoints: Mapping[str, Live], predict: Predict) -> None:
        self._endpoints = endpoints
        self._predict = predict

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        each: list[tuple[str, str, Handler, Permission]] = [
            ("GET", "", self._status, Permission.READ),
            ("GET", "/metadata", self._metadata, Permission.READ),
            ("POST", ":predict", self._on_predict, Permission.PREDICT),
            ("POST", ":classify", _unsupported, Permission.PREDICT),
            ("POST", ":regress", _unsupported, Permission.PREDICT),
        ]
        return [
            Route(method, _MODEL + of + tail, handler, permission)
            for of in ("", "/versions/{version}", "/labels/{label}")
            for method, tail, handler, permission in each
        ]

    def _found(self, request: Request) -> tuple[Live, Signature]:
        live = named(self._endpoints, request.params["model"], "model")
        signature = live.signature
        signature.require_version(request.params.get("version", ""))
        if request.params.get("label", CHAMPION) != CHAMPION:
            raise NotFound.named("label", request.params["label"][:80], [CHAMPION])
        return live, signature

    async def _status(self, request: Request) -> Response:
        return Response(200, tfserving.status(self._found(request)[1]))

    async def _metadata(self, request: Request) -> Response:
        return Response(200, tfserving.metadata(self._found(request)[1]))

    async def _on_predict(self, request: Request) -> Response:
        started = time.perf_counter_ns()
        live, signature = self._found(request)
        version = request.params.get("version", "")
        batch, by_row = tfserving.decode(request.body, signature, version, started)
        under(batch, request.headers, request.stages)
        return Response(200, tfserving.encode(await self._predict(live, batch), by_row))


async def _unsupported(request: Request) -> Response:
    raise Unsupported("only :predict is answered here, not :classify or :regress.")
