"""One row at a time over HTTP, against the limit and peers, all in one run.

    benchmarks/peers.sh granian fastapi litserve bentoml mlserver ray mlflow
    python benchmarks/serving/one_row.py [--rounds 5] [--seconds 3] [--rate 100] [--only SERVER ...]
        [--out benchmarks/results/one_row.json]

Every request is a distinct row of JSON. In turn, each server is asked by 16 connections as fast as it answers, and over
4 connections at a fixed rate; servers have core 0, the generator core 1, before other processes where that is allowed.
Ours has its checks, prediction log, cache (which never answers: `cache_hits`) and permissions on. The limit is
Granian's bare server with orjson and one call of ONNX Runtime. Ratios are medians of those of each round. `cpu_us` is
what all processes and threads of a server use for a request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop
from load import Load, Measured, undisturbed
from prepare import AT, prepared

from fivefold.workspace import open_workspace
from fivefold.workspace.served import champion, package_folder

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
    "bentoml": (7405, "/predict", "rows"),
    "mlserver": (7406, "/v2/models/flights/infer", "tensors"),
    "ray": (7407, "/predict", "rows"),
    "mlflow": (7408, "/invocations", "frames"),
}
COMMANDS = {
    7401: [*OURS, "--port", "7401", "--project", "{data}"],
    7402: ["{peers}/granian/bin/granian", "--interface", "rsgi", "--host", "127.0.0.1", "--port", "7402", "--workers",
           "1", "--no-ws", "--log-level", "warning", "granian_limit:app"],
    7403: ["{peers}/fastapi/bin/uvicorn", "fastapi_peer:app", "--host", "127.0.0.1", "--port", "7403",
           "--no-access-log", "--log-level", "warning"],
    7404: ["{peers}/litserve/bin/python", "litserve_peer.py", "7404"],
    7405: ["{peers}/bentoml/bin/bentoml", "serve", "bentoml_peer:Flights", "--host", "127.0.0.1", "--port", "7405"],
    7406: ["{peers}/mlserver/bin/mlserver", "start", "{data}/mlserver"],
    7407: ["{peers}/ray/bin/python", "ray_peer.py", "7407"],
    7408: ["{peers}/mlflow/bin/mlflow", "models", "serve", "-m", "{data}/mlflow", "--env-manager", "local",
           "--host", "127.0.0.1", "--port", "7408", "--workers", "1"],
}
SETTINGS = {
    "MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": "7406", "MLSERVER_GRPC_PORT": "7416",
    "MLSERVER_METRICS_PORT": "7426", "MLSERVER_DEBUG": "false", "MLSERVER_PARALLEL_WORKERS": "0",
    "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0",
}
MARK = "BENCHMARKED_ON"
"""In the environment of a server and of all that it starts: the port it has."""


def forms(data: Path) -> dict[str, list[bytes]]:
    """Distinct rows in the bodies that servers read."""
    rows, keys = (json.loads((data / f"{name}.json").read_text()) for name in ("rows", "keys"))
    tensor = {"name": "x", "shape": [1, len(rows[0])], "datatype": "FP64"}
    made: dict[str, list[Any]] = {
        "rows": rows, "keys": keys,
        "tensors": [{"inputs": [{**tensor, "data": list(r.values())}]} for r in rows],
        "frames": [{"dataframe_split": {"columns": list(r), "data": [list(r.values())]}} for r in rows]}
    return {name: [json.dumps(body).encode() for body in bodies] for name, bodies in made.items()}



def started(port: int, data: Path, bodies: dict[str, list[bytes]]) -> subprocess.Popen[bytes]:
    """A server of its own session, on core 0, once it answers."""
    words = [w.format(data=data, peers=PEERS) for w in COMMANDS[port]]
    path = f"{Path(words[0]).parent}:{os.environ['PATH']}"
    env = os.environ | SETTINGS | {"DATA": str(data), "OMP_NUM_THREADS": "1", MARK: str(port), "PATH": path}
    process = subprocess.Popen(["taskset", "-c", "0", *words], cwd=HERE / "peers", env=env, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = next(((p, r) for at, p, r in SERVERS.values() if at == port), None)
    if found is None:
        return process  # it speaks no HTTP, and whoever asks it waits until it is there
    url, form = found
    for _ in range(120):
        try:
            url_, headers = f"http://127.0.0.1:{port}{url}", {"content-type": "application/json"}
            urllib.request.urlopen(urllib.request.Request(url_, bodies[form][0], headers), timeout=5).read()
            for pid in processes(process, port):
                undisturbed(pid)
            return process
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"{' '.join(words[:2])} did not answer")


def processes(process: subprocess.Popen[bytes], port: int) -> list[int]:
    """All that a server started, in sessions of their own as well."""
    mark, found = f"{MARK}={port}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            if session == process.pid or mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def cpu(pids: Sequence[int]) -> float:
    """Seconds of processor time of processes."""
    total = 0.0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def stopped(running: dict[int, subprocess.Popen[bytes]]) -> None:
    """All of them, with what they started."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for port, process in running.items():
            for pid in processes(process, port):
                with suppress(OSError):
                    os.kill(pid, sig)
        for process in running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)


def asked(server: str, bodies: Sequence[bytes], connections: int, seconds: float, rate: float | None) -> Measured:
    """One measurement."""
    port, path, _ = SERVERS[server]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Load(port, bodies, connections, path=path).run(seconds, rate, warm=0.5))


def exported(data: Path) -> None:
    """The served model as the peers read it."""
    with open_workspace(data, actor="benchmark") as workspace:
        package = package_folder(workspace, champion(workspace, "plain").version)
    (model,) = package.glob("model/lightgbm/model.txt")
    shutil.copy(model, data / "model.txt")
    rows = json.loads((data / "rows.json").read_text())
    (data / "fields.json").write_text(json.dumps(list(rows[0])))
    python = PEERS / "granian" / "bin" / "python"
    subprocess.run([python, HERE / "peers" / "to_onnx.py", data / "model.txt", data / "model.onnx", "10"], check=True)
    (data / "mlserver").mkdir(exist_ok=True)
    shutil.copy(data / "model.txt", data / "mlserver" / "model.bst")
    settings = {"name": "flights", "implementation": "mlserver_lightgbm.LightGBMModel",
                "parameters": {"uri": "./model.bst"}}
    (data / "mlserver" / "model-settings.json").write_text(json.dumps(settings))
    if not (data / "mlflow").exists():
        words = [HERE / "peers" / "mlflow_model.py", data / "model.txt", data / "fields.json", data / "mlflow"]
        subprocess.run([PEERS / "mlflow" / "bin" / "python", *words], check=True, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    servers = {name: SERVERS[name] for name in SERVERS if name in options.only}
    with tempfile.TemporaryDirectory() as name:
        data = prepared(options.data or Path(name) / "served")
        exported(data)
        bodies = forms(data)
        os.sched_setaffinity(0, {1})
        niceness = undisturbed()
        running = {port: started(port, data, bodies) for port in {port for port, _, _ in servers.values()}}
        load_before = os.getloadavg()
        found: dict[str, list[dict[str, float]]] = {s: [] for s in servers}
        try:
            for number in range(options.rounds):
                for server, (port, _, rows) in servers.items():
                    pids = processes(running[port], port)
                    before = cpu(pids)
                    full = asked(server, bodies[rows], 16, options.seconds, None)
                    used = cpu(pids) - before
                    calm = asked(server, bodies[rows], 4, options.seconds, options.rate)
                    count = sum(full.answered.values()) * (options.seconds + 0.5) / options.seconds
                    found[server].append({
                        "per_s": full.rate, "cpu_us": used / max(1, count) * 1e6, "p50_ms": calm.percentile(0.5) * 1e3,
                        "p99_ms": calm.percentile(0.99) * 1e3,
                        "failed": sum(n for s, n in (full.answered + calm.answered).items() if s != 200)})
                    told = {k: round(v, 2) for k, v in found[server][-1].items()}
                    print(number, server, told, file=sys.stderr, flush=True)
            hits = None
            if 7401 in running:
                with urllib.request.urlopen("http://127.0.0.1:7401/") as told:
                    about = json.loads(told.read())["endpoints"]
                hits = {name: about[name]["cache"]["hits"] for name in about}
        finally:
            stopped(running)
    medians = {
        server: {k: round(statistics.median(r[k] for r in rounds), 3) for k in rounds[0]}
        for server, rounds in found.items()
    }

    def ratio(mine: str, theirs: str, figure: str) -> float:
        pairs = zip(found[mine], found[theirs], strict=True)
        return round(statistics.median(a[figure] / b[figure] for a, b in pairs), 3)

    ratios = {
        f"{mine} / {theirs}": {k: ratio(mine, theirs, k) for k in ("per_s", "cpu_us", "p50_ms", "p99_ms")}
        for mine in ("ours", "ours, two views") if mine in servers
        for theirs in servers if theirs not in ("hello", "ours", "ours, two views")}
    result: dict[str, Any] = {
        "command": f"python {sys.argv[0]} --rounds {options.rounds} --seconds {options.seconds:g}"
        f" --rate {options.rate:g}",
        "load_average": [load_before[0], os.getloadavg()[0]],
        "niceness": niceness, "cache_hits": hits, "rounds": options.rounds, "ratios": ratios, "medians": medians}
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
