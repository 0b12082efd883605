"""One row at a time over HTTP, against the limit and peers, all in one run.

    benchmarks/peers.sh granian fastapi litserve
    python benchmarks/serving/one_row.py [--rounds 5] [--seconds 3] [--rate 300] [--out benchmarks/results/one_row.json]

Every request is a distinct row of JSON. In turn, each server is asked by 16 connections as fast as it answers, and over
4 connections at a fixed rate; servers have core 0, the generator core 1, before other processes where that is allowed.
Ours has its checks, prediction log and
permissions on. The limit is Granian's bare server with orjson and one call of ONNX Runtime. Ratios are medians of those
of each round. `cpu_us` is what all processes and threads of a server use for a request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from load import Load, Measured, undisturbed
from prepare import AT, prepared

HERE = Path(__file__).parent
PEERS = HERE.parent / ".peers"
OURS = [sys.executable, "-c", "from fivefold.cli.main import run; run()", "serve", "--at", AT]
SERVERS = {
    "ours": (7401, "/predict/plain", "rows"),
    "ours, two views": (7401, "/predict/looked_up", "keys"),
    "hello": (7402, "/hello", "rows"),
    "limit": (7402, "/predict", "rows"),
    "fastapi": (7403, "/predict", "rows"),
    "litserve": (7404, "/predict", "rows"),
}
COMMANDS = {
    7401: [*OURS, "--port", "7401", "--project", "{data}"],
    7402: ["{peers}/granian/bin/granian", "--interface", "rsgi", "--host", "127.0.0.1", "--port", "7402", "--workers",
           "1", "--no-ws", "--log-level", "warning", "granian_limit:app"],
    7403: ["{peers}/fastapi/bin/uvicorn", "fastapi_peer:app", "--host", "127.0.0.1", "--port", "7403",
           "--no-access-log", "--log-level", "warning"],
    7404: ["{peers}/litserve/bin/python", "litserve_peer.py", "7404"],
}


def started(port: int, data: Path) -> subprocess.Popen[bytes]:
    """A server of its own session, on core 0, once it answers."""
    words = [w.format(data=data, peers=PEERS) for w in COMMANDS[port]]
    env = os.environ | {"DATA": str(data), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(["taskset", "-c", "0", *words], cwd=HERE / "peers", env=env, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path, rows = next((p, r) for at, p, r in SERVERS.values() if at == port)
    body = json.dumps(json.loads((data / f"{rows}.json").read_text())[0]).encode()
    for _ in range(120):
        try:
            url, headers = f"http://127.0.0.1:{port}{path}", {"content-type": "application/json"}
            request = urllib.request.Request(url, body, headers)
            urllib.request.urlopen(request, timeout=5).read()
            undisturbed(process.pid)
            return process
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"{' '.join(words[:2])} did not answer")


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time of all processes of a server's session."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process.pid:
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def asked(server: str, bodies: Sequence[bytes], connections: int, seconds: float, rate: float | None) -> Measured:
    """One measurement."""
    port, path, _ = SERVERS[server]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Load(port, bodies, connections, path=path).run(seconds, rate, warm=0.5))


def exported(data: Path) -> None:
    """The served model as the peers read it."""
    (model,) = [f for f in data.glob(".fivefold/packages/*/model/lightgbm/model.txt") if width(f) == 10]
    shutil.copy(model, data / "model.txt")
    rows = json.loads((data / "rows.json").read_text())
    (data / "fields.json").write_text(json.dumps(list(rows[0])))
    python = PEERS / "granian" / "bin" / "python"
    subprocess.run([python, HERE / "peers" / "to_onnx.py", data / "model.txt", data / "model.onnx", "10"], check=True)


def width(model: Path) -> int:
    """How many features a LightGBM model takes."""
    found = re.search(r"max_feature_idx=(\d+)", model.read_text())
    assert found is not None
    return int(found.group(1)) + 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = prepared(options.data or Path(name) / "served")
        exported(data)
        bodies = {rows: [json.dumps(r).encode() for r in json.loads((data / f"{rows}.json").read_text())]
                  for rows in ("rows", "keys")}
        os.sched_setaffinity(0, {1})
        niceness = undisturbed()
        running = {port: started(port, data) for port in COMMANDS}
        load_before = os.getloadavg()
        found: dict[str, list[dict[str, float]]] = {s: [] for s in SERVERS}
        try:
            for number in range(options.rounds):
                for server, (port, _, rows) in SERVERS.items():
                    before = cpu(running[port])
                    full = asked(server, bodies[rows], 16, options.seconds, None)
                    used = cpu(running[port]) - before
                    calm = asked(server, bodies[rows], 4, options.seconds, options.rate)
                    count = sum(full.answered.values()) * (options.seconds + 0.5) / options.seconds
                    found[server].append({
                        "per_s": full.rate, "cpu_us": used / max(1, count) * 1e6, "p50_ms": calm.percentile(0.5) * 1e3,
                        "p99_ms": calm.percentile(0.99) * 1e3,
                        "failed": sum(n for s, n in (full.answered + calm.answered).items() if s != 200)})
                    told = {k: round(v, 2) for k, v in found[server][-1].items()}
                    print(number, server, told, file=sys.stderr, flush=True)
        finally:
            for process in running.values():
                os.killpg(process.pid, signal.SIGTERM)
            for process in running.values():
                process.wait(20)
    medians = {
        server: {k: round(statistics.median(r[k] for r in rounds), 3) for k in rounds[0]}
        for server, rounds in found.items()
    }

    def ratio(mine: str, theirs: str, figure: str) -> float:
        pairs = zip(found[mine], found[theirs], strict=True)
        return round(statistics.median(a[figure] / b[figure] for a, b in pairs), 3)

    ratios = {
        f"{mine} / {theirs}": {k: ratio(mine, theirs, k) for k in ("per_s", "cpu_us", "p50_ms", "p99_ms")}
        for mine in ("ours", "ours, two views") for theirs in ("limit", "fastapi", "litserve")}
    result: dict[str, Any] = {
        "command": f"python {sys.argv[0]} --rounds {options.rounds} --seconds {options.seconds:g}"
        f" --rate {options.rate:g}",
        "load_average": [load_before[0], os.getloadavg()[0]],
        "niceness": niceness, "rounds": options.rounds, "ratios": ratios, "medians": medians}
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
