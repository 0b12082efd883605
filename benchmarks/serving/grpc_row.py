"""One row at a time over gRPC, against a bare server and MLServer, all in one run.

    benchmarks/peers.sh granian mlserver mlflow
    python benchmarks/serving/grpc_row.py [--rounds 5] [--seconds 3] [--out benchmarks/results/grpc_row.json]

Calls are ModelInfer of the Open Inference Protocol with raw contents, each of a distinct row, 16 at a time; the bare
server gives the bytes back. Servers have core 0, the generator core 1, before other processes where that is allowed.
The generator is grpc.aio too and costs more than a server, so that `cpu_us`, what all threads of a server use for a
call, is the figure to look at; calls a second say what both cores gave together. Ratios are medians of those of each
round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
from load import undisturbed
from one_row import COMMANDS, OURS, cpu, exported, forms, processes, started, stopped
from prepare import prepared

from fivefold.realtime.protos import inference_pb2 as pb

CALLS = 16
METHOD = "/inference.GRPCInferenceService/ModelInfer"
BARE, RPC = 7409, 7411
ADDRESSES = {"ours": (7401, RPC), "bare": (BARE, BARE), "mlserver": (7406, 7416)}


def requests(rows: list[dict[str, float]], one_tensor: bool) -> list[bytes]:
    """Distinct rows: a tensor for each column, or one of all."""
    made = []
    for row in rows:
        request = pb.ModelInferRequest(model_name="flights" if one_tensor else "plain")
        if one_tensor:
            request.inputs.add(name="x", datatype="FP64", shape=[1, len(row)])
            request.raw_input_contents.append(struct.pack(f"<{len(row)}d", *row.values()))
        else:
            for name, value in row.items():
                request.inputs.add(name=name, datatype="FP64", shape=[1, 1])
                request.raw_input_contents.append(struct.pack("<d", value))
        made.append(request.SerializeToString())
    return made


async def asked(port: int, bodies: list[bytes], seconds: float) -> tuple[int, list[float]]:
    """How many calls were answered in so many seconds, and what each took; an error ends the benchmark."""
    took: list[float] = []
    following = itertools.cycle(bodies)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)
        end = time.perf_counter() + seconds

        async def one() -> None:
            while (began := time.perf_counter()) < end:
                await call(next(following))
                took.append(time.perf_counter() - began)

        await asyncio.gather(*(one() for _ in range(CALLS)))
    return len(took), took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    COMMANDS[7401] = [*OURS, "--port", "7401", "--grpc-port", str(RPC), "--project", "{data}"]
    COMMANDS[BARE] = [sys.executable, "grpc_bare.py", str(BARE)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ADDRESSES}
    with tempfile.TemporaryDirectory() as name:
        data = prepared(options.data or Path(name) / "served")
        exported(data)
        rows = json.loads((data / "rows.json").read_text())
        os.sched_setaffinity(0, {1})
        niceness, load = undisturbed(), os.getloadavg()[0]
        bodies = forms(data)
        running = {port: started(port, data, bodies) for port, _ in ADDRESSES.values()}
        try:
            for number in range(options.rounds):
                for server, (port, rpc) in ADDRESSES.items():
                    pids = processes(running[port], port)
                    asking = requests(rows, server == "mlserver")
                    asyncio.run(asked(rpc, asking, 0.5))  # connections and caches
                    before = cpu(pids)
                    count, took = asyncio.run(asked(rpc, asking, options.seconds))
                    used = cpu(pids) - before
                    found[server].append({"per_s": count / options.seconds, "cpu_us": used / count * 1e6,
                                          "p50_ms": statistics.median(took) * 1e3})
                    told = {k: round(v, 2) for k, v in found[server][-1].items()}
                    print(number, server, told, file=sys.stderr, flush=True)
        finally:
            stopped(running)
    figures = ("per_s", "cpu_us", "p50_ms")
    result: dict[str, Any] = {
        "command": f"python {sys.argv[0]} --rounds {options.rounds} --seconds {options.seconds:g}",
        "load_average": [load, os.getloadavg()[0]], "niceness": niceness, "rounds": options.rounds,
        "ratios": {
            f"ours / {theirs}": {
                k: round(statistics.median(a[k] / b[k] for a, b in zip(found["ours"], found[theirs], strict=True)), 3)
                for k in figures}
            for theirs in ("bare", "mlserver")},
        "medians": {s: {k: round(statistics.median(r[k] for r in rounds), 2) for k in figures}
                    for s, rounds in found.items()}}
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
