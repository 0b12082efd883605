"""What the report shows, measured on the project as it stands."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from fivefold.catalog.versions import Version
from fivefold.core.errors import Invalid, Unavailable
from fivefold.core.features import Feature, FeatureView, Request, chosen
from fivefold.core.learning import Model
from fivefold.core.sources import Stream
from fivefold.core.time import HOUR, instant, iso
from fivefold.data.duck import ident, parquet
from fivefold.features.asof import as_of
from fivefold.features.frame import frame
from fivefold.features.lookup import Lookup, Vector
from fivefold.features.materialise import view_plan
from fivefold.lifecycle.judge import read_judged
from fivefold.models.metrics import score
from fivefold.models.tasks import Task
from fivefold.realtime.streams.sending import Sender
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace
from fivefold.workspace.served import Served, online_name

METRICS = ("auc", "average_precision", "logloss", "brier")
REPLAYED = 15 * HOUR
"""How much of the last day is replayed hour by hour; what leaves later comes while versions are rolled out."""

REQUESTS = 400
"""About how many requests are made over the day."""

EVENT = ("flight_id", "origin", "dep_delay", "departed_at")
SCORED_ROWS = 200_000


class Serving(msgspec.Struct, frozen=True):
    """A day's events, and live requests between them, one after another on one connection: latencies in milliseconds as
    the client saw them."""

    events: int
    events_per_second: float
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    milliseconds: list[float]
    example: dict[str, Any]


class _Features(NamedTuple):
    """Features that are looked up without a model."""

    ref: str
    features: tuple[Feature, ...]


def against_baselines(workspace: Workspace, version: Version, baseline: Version) -> dict[str, Any]:
    """Metrics of a version, of the model of the departure delay alone, and of always saying the base rate."""
    judged, simple = read_judged(workspace, version), read_judged(workspace, baseline)
    info: Any = version.info
    # as often as in the rows it learned from: what anyone could have known then
    constant = np.full(len(judged.y), float(info["base_rate"]))
    compared = {
        "late": judged,
        "departure delay alone": simple,
        "always the base rate": msgspec.structs.replace(judged, p=constant),
    }
    return {
        name: msgspec.to_builtins(score(Task("binary"), rows.y, rows.p, METRICS)) for name, rows in compared.items()
    }


def calibration(workspace: Workspace, version: Version, bins: int = 12) -> list[dict[str, float]]:
    """Predicted and observed shares in bins of equally many test rows."""
    judged = read_judged(workspace, version)
    order = np.argsort(judged.p, kind="stable")
    return [
        {"predicted": float(judged.p[rows].mean()), "observed": float(judged.y[rows].mean()), "rows": len(rows)}
        for rows in np.array_split(order, bins)
    ]


def scoring_rate(workspace: Workspace, served: Served) -> dict[str, float]:
    """Rows per second from raw rows to predictions, point-in-time features included, on one slice of the flights."""
    model = served.model
    source = model.target.source
    assert source.time is not None
    keys = [k for view, _ in chosen(model.features).values() for k in view.entity.key]
    columns = dict.fromkeys([*keys, *(r.name for r in model.features if isinstance(r, Request))])
    files = workspace.snapshot(source.name).files(workspace.places.tables)
    with workspace.database() as connection:
        spine = connection.sql(
            f"select {', '.join(ident(c) for c in columns)}, {ident(source.time)} as __moment "
            f"from {parquet(files)} limit {SCORED_ROWS}"
        ).to_arrow_table()
        began = time.perf_counter()
        table = frame(
            connection,
            model,
            spine,
            "__moment",
            served.schemas,
            served.scales,
            lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables)),
            threads=workspace.env.threads,
        )
        joined = time.perf_counter()
        served.loaded.predict(table)
        done = time.perf_counter()
    return {
        "rows": spine.num_rows,
        "features_seconds": round(joined - began, 3),
        "predict_seconds": round(done - joined, 3),
        "rows_per_second": round(spine.num_rows / (done - began)),
    }


def replay(
    workspace: Workspace, at: str, speed: float, show: Callable[[str, int, int], None]
) -> tuple[Serving, str, bool]:
    """Send the last day's departures as events, an hour at a time, and ask `fivefold serve` about the flights of each.

    Events come as fast as they go, or `speed` times as fast as they did. The last hours are left for the rollout.
    """
    stream = workspace.project.get(Stream.kind, "takeoffs")
    assert isinstance(stream, Stream)
    day = [flight for flight in departures_of(workspace) if flight["departed_at"] < instant(at) + REPLAYED]
    with serving(workspace) as port, Streaming(workspace) as streaming:
        broker = workspace.broker(stream)
        try:
            made = _hours(day, instant(at), speed, Sender(stream, broker), streaming, port, show)
        finally:
            broker.close()
        streaming.archive()
    said = (
        f"{made.events:,} departures at {made.events_per_second:,.0f} a second; {made.requests} requests, "
        f"p50 {made.p50_ms:.2f} ms, p99 {made.p99_ms:.2f} ms, {made.failed} failed"
    )
    return made, said, True


@contextmanager
def serving(workspace: Workspace, *words: str) -> Iterator[int]:
    """The port of `fivefold serve`, running as a process of its own."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fivefold.cli.main",
            "serve",
            "--port",
            "0",
            "--endpoint",
            "late",
            "--project",
            str(workspace.root),
            "--env",
            workspace.env.name,
            *words,
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield _port(server)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.kill(server.pid, signal.SIGKILL)


def _hours(
    day: list[dict[str, Any]],
    begin: int,
    speed: float,
    sender: Sender,
    streaming: Streaming,
    port: int,
    show: Callable[[str, int, int], None],
) -> Serving:
    """Hour by hour: what left is sent and applied, then those that leave next are asked about."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took: list[float] = []
    failed, sent, seconds, example = 0, 0, 0.0, dict[str, Any]()
    hours = list(range(begin, day[-1]["departed_at"] + HOUR, HOUR))
    for number, hour in enumerate(hours):
        left = [flight for flight in day if hour - HOUR <= flight["departed_at"] < hour]
        began = time.perf_counter()
        refused = [e for e in sender.send([{c: f[c] for c in EVENT} for f in left]) if e is not None]
        if refused:
            raise refused[0]
        streaming.drain()
        seconds += time.perf_counter() - began if left else 0.0
        sent += len(left)
        for flight in [f for f in day if hour <= f["departed_at"] < hour + HOUR][:: max(1, len(day) // REQUESTS)]:
            row = {name: value for name, value in flight.items() if name not in ("flight_id", "departed_at")}
            asked = time.perf_counter_ns()
            connection.request(
                "POST", f"/predict/late?at={iso(hour)}", json.dumps(row), {"content-type": "application/json"}
            )
            reply = connection.getresponse()
            answer = json.loads(reply.read())
            took.append((time.perf_counter_ns() - asked) / 1e6)
            failed += reply.status != 200
            example = {"request": row, "answer": answer} if reply.status == 200 else example
        show("hours", number + 1, len(hours))
        if speed:
            time.sleep(HOUR / 1e6 / speed)
    connection.close()
    return Serving(
        sent,
        round(sent / seconds) if seconds else 0.0,
        len(took),
        failed,
        round(statistics.median(took), 3),
        round(sorted(took)[int(len(took) * 0.99)], 3),
        [round(t, 3) for t in took],
        example,
    )


def same_at_the_end(workspace: Workspace, at: int) -> int:
    """How many features of the stream's view are those of the as-of join over the same rows.

    Raises Invalid for the first that is not.
    """
    view = workspace.project.get(FeatureView.kind, "congestion")
    assert isinstance(view, FeatureView)
    schemas = {"flights": workspace.snapshot("flights").schema}
    lookup = Lookup(
        _Features(view.ref, (view,)), schemas, workspace.scales(), lambda v: online_name(workspace.project, v)
    )
    rows = [{"origin": origin} for origin in ("EWR", "JFK", "LGA")]
    store = workspace.online()
    try:
        found = lookup.vectors(store, rows, at)
    finally:
        store.close()
    spine = pa.table({"origin": [r["origin"] for r in rows], "__moment": pa.array([at] * len(rows), pa.int64())})
    plan = view_plan(
        view, schemas, workspace.scales(), lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables))
    )
    with workspace.database() as connection:
        past = as_of(spine, "__moment", [plan], connection=connection)
    equal = 0
    for number, vector in enumerate(found):
        assert isinstance(vector, Vector)
        for name, value in zip(lookup.names, vector.values, strict=True):
            known = past[name][number].as_py()
            if value != known:
                raise Invalid(f"{name} of {rows[number]} is {value!r}, but history says {known!r}.")
            equal += 1
    return equal


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"serving on http://127\.0\.0\.1:(\d+)", line):
            return int(found.group(1))
    raise Unavailable("`fivefold serve` ended before it listened.", hint="Run it by hand to see why.")


def departures_of(workspace: Workspace) -> list[dict[str, Any]]:
    """The flights that left on the last day, in their order: what a gate agent knows of each, and when it left."""
    model = workspace.project.get(Model.kind, "late")
    assert isinstance(model, Model)
    keys = [k for view, _ in chosen(model.features).values() for k in view.entity.key]
    asked = dict.fromkeys([*keys, *(r.name for r in model.features if isinstance(r, Request))])
    timetable, planes = (parquet(workspace.snapshot(n).files(workspace.places.tables)) for n in ("timetable", "planes"))
    columns = ", ".join("p.seats" if c == "seats" else f"t.{ident(c)}" for c in asked)
    with workspace.database() as connection:
        table = connection.sql(
            f"select {columns}, t.carrier || t.flight || '-' || t.origin || '-' || strftime(t.time_hour, '%Y%m%d%H') "
            "as flight_id, epoch_us(t.time_hour + to_minutes(t.minute + t.dep_delay)) as departed_at "
            f"from {timetable} t left join {planes} p on t.tailnum = p.tailnum where t.dep_delay is not null "
            "order by departed_at, flight_id"
        ).to_arrow_table()
    return list(table.to_pylist())
