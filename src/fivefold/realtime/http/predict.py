"""`POST /predict/ENDPOINT`: rows in, a prediction or an error for each out, all at once or as events."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

from fivefold.core.errors import FivefoldError
from fivefold.realtime.batching.gate import under
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.named import named
from fivefold.realtime.endpoints.predictor import Predict
from fivefold.realtime.http.replies import require_json
from fivefold.realtime.http.routes import Permission, Request, Response, Route
from fivefold.realtime.protocols import events, own
from fivefold.realtime.protocols.batch import Batch, Outcome

NO_STORE = ((b"cache-control", b"no-store"),)


class PredictRoutes:
    """Our own JSON, whole or as server-sent events."""

    def __init__(self, endpoints: Mapping[str, Live], predict: Predict) -> None:
        self._endpoints = endpoints
        self._predict = predict

    @property
    def routes(self) -> list[Route]:
        """What is answered here."""
        return [Route("POST", "/predict/{endpoint}", self._on_predict, Permission.PREDICT)]

    async def _on_predict(self, request: Request) -> Response:
        started = time.perf_counter_ns()
        live = named(self._endpoints, request.params["endpoint"])
        require_json(request.headers)
        signature = live.signature
        batch, alone = own.decode(request.query, request.body, signature, started)
        under(batch, request.headers, request.stages)
        if events.EVENT_STREAM in request.headers.get(b"accept", b""):
            return await self._events(live, batch)
        outcome = await self._predict(live, batch)
        if alone and outcome.errors:
            raise outcome.errors[0]
        return Response(200, own.encode(outcome))

    async def _events(self, live: Live, batch: Batch) -> Response:
        # what fails all rows is said with a status, before anything is streamed; later pieces keep its moment
        first = await self._predict(live, batch.piece(0, events.ROWS_AT_ONCE))
        batch.at = first.as_of
        return Response(200, b"", events.EVENT_STREAM, NO_STORE, self._pieces(live, batch, first))

    async def _pieces(self, live: Live, batch: Batch, outcome: Outcome) -> AsyncIterator[bytes]:
        failed = len(outcome.errors)
        yield events.encode(outcome, 0)
        for start in range(events.ROWS_AT_ONCE, batch.size, events.ROWS_AT_ONCE):
            try:
                outcome = await self._predict(live, batch.piece(start, start + events.ROWS_AT_ONCE))
            except FivefoldError as e:
                yield events.broken(e, start)
                return
            failed += len(outcome.errors)
            yield events.encode(outcome, start)
        yield events.end(batch.size, failed)
