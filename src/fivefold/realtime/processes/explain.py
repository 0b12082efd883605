"""The plan of a request: the stages from bytes to answer, each measured by some hundred requests in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from fivefold.core.errors import Unavailable
from fivefold.core.types import Type
from fivefold.core.uses import Endpoint
from fivefold.realtime.batching.latency import Fit
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.http.connection import Connection, Front
from fivefold.realtime.http.front import App
from fivefold.realtime.http.http1 import Request, Response
from fivefold.realtime.processes.application import application
from fivefold.realtime.processes.explain_plan import derived_cost, limits, quantiles, recent_told, stages_of
from fivefold.realtime.protocols.batch import Batch
from fivefold.realtime.telemetry.stages import Stages
from fivefold.realtime.telemetry.watching import Visit, Watch
from fivefold.workspace import Workspace

REQUESTS = 400
WARM = 60
"""Requests before those that are measured."""
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_CALLS = 12
"""Calls of each size, to fit what calls take."""
_VALUES = {Type.INT64: 1, Type.FLOAT64: 1.0, Type.BOOL: True, Type.STRING: "x", Type.TIMESTAMP: 0}


class Stage(NamedTuple):
    """What a stage does, what it takes (µs, median and 99th percentile), and its share of the whole."""

    name: str
    what: str
    median: float
    p99: float
    share: float


class Plan(NamedTuple):
    """The plan of a request to an endpoint; `notes` are lines about the cache, calls and limits."""

    endpoint: str
    model: str
    version: int
    stages: list[Stage]
    notes: list[str]


def explained(workspace: Workspace, chosen: Sequence[Endpoint], at: int | None = None) -> Iterator[Plan]:
    """The plan of a request to each endpoint, on the real store; what is logged goes to a folder that is removed.

    Raises Unavailable for an endpoint without a champion, when the store does not answer, or when the row that the
    model was tested on is refused.
    """
    watch = _Watch()
    with (
        asyncio.Runner() as runner,
        TemporaryDirectory(prefix="fivefold-") as logged,
        application(
            workspace, chosen, hosts=("localhost",), closed=False, at=at, watch=watch, state=Path(logged)
        ) as opened,
    ):
        for live in opened.endpoints.values():
            moment = workspace.clock() if at is None else at
            yield runner.run(_plan(opened.app, watch, live, opened.store, moment))


async def _plan(app: App, watch: _Watch, live: Live, store: Any, at: int) -> Plan:
    signature, using = live.signature, live.using
    row = {n: live.example.get(n, _VALUES[kind]) for n, kind in signature.fields.items()}
    asking = _Asking(app, watch, live.name, row)
    cache, using.cache = using.cache, None
    parts = await asking.many()
    if cache is None:
        notes = ["cache: none; Endpoint(cache=...) would keep predictions."]
    else:
        using.cache = cache
        again = quantiles([p["whole"] for p in await asking.many()])[0]
        notes = [f"cache: above none was asked before; a row that was takes {again:.1f} µs as a whole."]
    notes.append(recent_told(live))
    whole = quantiles([p["whole"] for p in parts])
    stages = []
    for name, what in stages_of(live, derived_cost(using, row)).items():
        median, p99 = quantiles([p.get(name, 0.0) for p in parts])
        stages.append(Stage(name, what, median, p99, median / whole[0]))
    stages.append(Stage("whole", "from the bytes of a request to those of its answer", *whole, 1.0))
    fit = _fitted(live, store, row, at)
    return Plan(live.name, signature.model, signature.version, stages, [*limits(fit, live.slo), *notes])


def _fitted(live: Live, store: Any, row: dict[str, Any], at: int) -> Fit:
    """What calls of several sizes take."""
    fit, fields, using = Fit(), live.signature.fields, live.using
    cache, using.cache = using.cache, None
    try:
        for size in _SIZES * _CALLS:
            batch = Batch(fields, {n: (row[n],) * size for n in fields}, size)
            began = time.perf_counter_ns()
            live.outcome_of(using, using.answer(store, [batch], at), at, batch)
            fit.add(size, time.perf_counter_ns() - began)
    finally:
        using.cache = cache
    return fit


class _Watch(Watch):
    """Keeps the stages of the request that came last."""

    last = Stages()

    def begin(self, asked: Request) -> Visit:
        """All requests are traced."""
        visit = Visit()
        visit.stages = self.last = Stages()
        return visit

    def end(self, visit: Visit, asked: Request, response: Response) -> Response:
        """It is answered."""
        self.last.ended = time.perf_counter_ns()
        return response


class _Asking:
    """Requests of one row through a connection of the server, without a network."""

    def __init__(self, app: App, watch: _Watch, endpoint: str, row: dict[str, Any]) -> None:
        self._watch, self._wire = watch, _Wire()
        body = msgspec.json.encode(row)
        self._bytes = (
            b"POST /predict/%b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"accept: */*\r\ncontent-length: %d\r\n\r\n%b" % (endpoint.encode(), len(body), body)
        )
        self._front = Front(app, app.refused, asyncio.get_running_loop())
        self._connection = Connection(self._front)
        self._connection.connection_made(self._wire)

    async def many(self) -> list[dict[str, float]]:
        """The microseconds of each stage of many requests. Raises Unavailable when one is not answered."""
        return [await self._once() for _ in range(WARM + REQUESTS)][WARM:]

    async def _once(self) -> dict[str, float]:
        wire = self._wire
        wire.at = 0
        began = time.perf_counter_ns()
        self._connection.data_received(self._bytes)
        while not wire.at:
            await asyncio.sleep(0)
        if not wire.written.startswith(b"HTTP/1.1 200 "):
            raise Unavailable(f"it cannot be measured: the answer was {wire.written[:300]!r}.")
        await asyncio.sleep(0.0005)  # requests come one by one, not in a row
        found = self._watch.last
        parts = {name: (end - start) / 1e3 for name, start, end in found.parts()}
        parts["read"], parts["write"] = (found.began - began) / 1e3, (wire.at - found.ended) / 1e3
        return {**parts, "whole": (wire.at - began) / 1e3}


class _Wire(asyncio.Transport):
    """Keeps what is written, and when."""

    written = b""
    at = 0

    def write(self, data: Any) -> None:
        """Take an answer."""
        self.at, self.written = time.perf_counter_ns(), bytes(data)

    def close(self) -> None:
        """There is nothing to close."""

    def abort(self) -> None:
        """There is nothing to cut."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Where requests come from."""
        return ("127.0.0.1", 0) if name == "peername" else default
