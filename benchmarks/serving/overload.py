"""Goodput at twice saturation: `python benchmarks/serving/overload.py [--out FILE] [--slo 20ms]`.

The server has core 0, the generator core 1, and where that is allowed both go before other processes. Measured, medians
of rounds: `peak`, answers a second in a closed loop over 64 connections; r, what refusing costs over what answering
costs, from a server that refuses nearly everything; goodput, answers a second within the time promised, with requests
at twice the peak whatever comes back. What is possible at best is (1 - 2r)/(1 - r) of the peak. A single connection,
one request at a time, is measured too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from load import Load, Measured, undisturbed
from shop import AT, COMMAND, bodies, make

from fivefold.core.time import duration


@contextmanager
def served(folder: Path, cores: set[int]) -> Iterator[tuple[int, int]]:
    """The port and process of a server on some cores."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--at", AT],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    os.sched_setaffinity(process.pid, cores)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"serving on http://127\.0\.0\.1:(\d+)", line):
                break
        else:
            raise RuntimeError("the server did not start")
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)
        yield int(found.group(1)), process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def measure(port: int, connections: int, seconds: float, rate: float | None = None) -> Measured:
    """One measurement in a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Load(port, bodies(20_000), connections).run(seconds, rate))


def main() -> None:
    """Measure and print; with --out, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--slo", default="20ms")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="single,peak,refuse,overload")
    asked = parser.parse_args()
    slo = duration(asked.slo) / 1e6
    before = os.getloadavg()
    os.sched_setaffinity(0, {1})
    niceness = undisturbed()
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        make(folder, asked.slo)
        for _ in range(asked.rounds):
            one_round(folder, slo, asked.seconds, asked.only.split(","), found)

    told = {k: statistics.median(v) for k, v in found.items()}
    if "peak" in told and "refusals" in told:
        r = told["r"] = told["peak"] / told["refusals"]
        told["possible"] = (1 - 2 * r) / (1 - r) * told["peak"]
        if "goodput" in told:
            told["of_possible"] = told["goodput"] / told["possible"]
    told = {k: round(v, 4) for k, v in told.items()}
    report = {"slo_seconds": slo, "load_average": before, "niceness": niceness, "rounds": found, "median": told}
    print(json.dumps(report, indent=1))
    if asked.out:
        asked.out.write_text(json.dumps(report, indent=1) + "\n")


def one_round(folder: Path, slo: float, seconds: float, only: list[str], found: dict[str, list[Any]]) -> None:
    """All measurements once."""

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(round(value, 6))

    with served(folder, {0}) as (port, _):
        if "single" in only:
            single = measure(port, 1, seconds)
            note("single_p50_seconds", single.percentile(0.5))
            note("single_p99_seconds", single.percentile(0.99))
        if "peak" in only:
            note("peak", measure(port, 64, seconds).rate)
        if "overload" in only:
            over = measure(port, 1000, seconds, 2 * found["peak"][-1])
            note("goodput", over.within(slo))
            note("accepted", over.rate)
            note("refused", over.answered[503] / over.seconds)
            note("expired", over.answered[504] / over.seconds)
            note("accepted_p50_seconds", over.percentile(0.5))
            note("accepted_p99_seconds", over.percentile(0.99))
            note("unsent", over.unsent)
    if "refuse" in only:
        settings = folder / "fivefold.toml"
        text = settings.read_text()
        settings.write_text(text + '[default]\nrequest_rate = "1/h"\n')
        try:
            with served(folder, {0}) as (port, _):
                refused = measure(port, 64, seconds)
                note("refusals", refused.answered[429] / refused.seconds)
        finally:
            settings.write_text(text)


if __name__ == "__main__":
    main()
