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
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from fivefold.catalog.versions import Version
from fivefold.core.errors import Unavailable
from fivefold.core.features import Request, chosen
from fivefold.core.learning import Model
from fivefold.core.time import instant
from fivefold.data.duck import ident, parquet
from fivefold.features.frame import frame
from fivefold.mlops.judge import read_judged
from fivefold.models.metrics import score
from fivefold.models.tasks import Task
from fivefold.workspace import Workspace
from fivefold.workspace.served import Served

METRICS = ("auc", "average_precision", "logloss", "brier")
REQUESTS = 400
SCORED_ROWS = 200_000


class Serving(msgspec.Struct, frozen=True):
    """Live requests, one after another on one connection: latencies in milliseconds as the client saw them."""

    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    milliseconds: list[float]
    example: dict[str, Any]


def against_baselines(workspace: Workspace, version: Version, baseline: Version) -> dict[str, Any]:
    """Metrics of a version, of the model of the departure delay alone, and of always saying the base rate."""
    judged, simple = read_judged(workspace, version), read_judged(workspace, baseline)
    info: Any = version.info
    # as often as in the rows it learned from: what anyone could have known then
    constant = np.full(len(judged.y), float(info["base_rate"]))
    compared = {"late": judged, "departure delay alone": simple,
                "always the base rate": msgspec.structs.replace(judged, p=constant)}
    return {name: msgspec.to_builtins(score(Task("binary"), rows.y, rows.p, METRICS))
            for name, rows in compared.items()}


def calibration(workspace: Workspace, version: Version, bins: int = 12) -> list[dict[str, float]]:
    """Predicted and observed shares in bins of equally many test rows."""
    judged = read_judged(workspace, version)
    order = np.argsort(judged.p, kind="stable")
    return [{"predicted": float(judged.p[rows].mean()), "observed": float(judged.y[rows].mean()), "rows": len(rows)}
            for rows in np.array_split(order, bins)]


def scoring_rate(workspace: Workspace, served: Served) -> dict[str, float]:
    """Rows per second from raw rows to predictions, point-in-time features included, on one slice of the flights."""
    model = served.model
    source = model.target.source
    assert source.time is not None
    keys = [k for view, _ in chosen(model.features).values() for k in view.entity.key]
    columns = dict.fromkeys([*keys, *(r.name for r in model.features if isinstance(r, Request))])
    files = workspace.snapshot(source.name).files(workspace.places.tables)
    with workspace.database() as connection:
        spine = connection.sql(f"select {', '.join(ident(c) for c in columns)}, {ident(source.time)} as __moment "
                               f"from {parquet(files)} limit {SCORED_ROWS}").to_arrow_table()
        began = time.perf_counter()
        table = frame(connection, model, spine, "__moment", served.schemas, served.scales,
                      lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables)),
                      threads=workspace.env.threads)
        joined = time.perf_counter()
        served.loaded.predict(table)
        done = time.perf_counter()
    return {"rows": spine.num_rows, "features_seconds": round(joined - began, 3),
            "predict_seconds": round(done - joined, 3), "rows_per_second": round(spine.num_rows / (done - began))}


def serving(workspace: Workspace, at: str, show: Callable[[str, int, int], None]) -> tuple[Serving, str, bool]:
    """Start `fivefold serve` as a process, ask it about the flights that leave next, and stop it."""
    rows = _next_flights(workspace, instant(at))
    with subprocess.Popen([sys.executable, "-m", "fivefold.cli.main", "serve", "--port", "0", "--at", at,
                           "--endpoint", "late", "--project", str(workspace.root), "--env", workspace.env.name],
                          stdout=subprocess.PIPE, text=True) as server:
        try:
            made = _ask(_port(server), rows, show)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.kill(server.pid, signal.SIGKILL)
    said = f"{made.requests} requests, p50 {made.p50_ms:.2f} ms, p99 {made.p99_ms:.2f} ms, {made.failed} failed"
    return made, said, True


def _ask(port: int, rows: list[dict[str, Any]], show: Callable[[str, int, int], None]) -> Serving:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took: list[float] = []
    failed, example = 0, dict[str, Any]()
    for done in range(-20, REQUESTS):
        row = rows[done % len(rows)]
        body = json.dumps(row)
        began = time.perf_counter_ns()
        connection.request("POST", "/predict/late", body, {"content-type": "application/json"})
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        if done >= 0:  # the first few warm it up
            took.append((time.perf_counter_ns() - began) / 1e6)
            failed += reply.status != 200
            show("requests", done + 1, REQUESTS)
        if reply.status == 200 and not example:
            example = {"request": row, "answer": answer}
    connection.close()
    return Serving(REQUESTS, failed, round(statistics.median(took), 3), round(sorted(took)[int(len(took) * 0.99)], 3),
                   [round(t, 3) for t in took], example)


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.search(r"serving on http://127\.0\.0\.1:(\d+)", line):
            return int(found.group(1))
    raise Unavailable("`fivefold serve` ended before it listened.", hint="Run it by hand to see why.")


def _next_flights(workspace: Workspace, at: int) -> list[dict[str, Any]]:
    """Requests as a gate agent would send them: the flights that left after a moment, without what nobody knew yet."""
    model = workspace.project.get(Model.kind, "late")
    assert isinstance(model, Model)
    keys = [k for view, _ in chosen(model.features).values() for k in view.entity.key]
    columns = dict.fromkeys([*keys, *(r.name for r in model.features if isinstance(r, Request))])
    files = workspace.snapshot("flights").files(workspace.places.tables)
    with workspace.database() as connection:
        table = connection.sql(
            f"select {', '.join(ident(c) for c in columns)} from {parquet(files)} "
            f"where departed_at >= make_timestamp({at}::bigint) order by departed_at limit {REQUESTS}").to_arrow_table()
    return list(table.to_pylist())
