"""How long after an event was appended a look-up in another process has it; and memory and disk for a million keys.

    python benchmarks/features/freshness.py [--seconds 20] [--keys 1000000] [--out benchmarks/results/freshness.json]

Freshness: 500 events a second on the embedded log, and on Kafka, a worker as a process of its own, one event in ten
waited for by a reader, in this process, that looks every half millisecond. It is counted from when the broker had the
event, and from when it was given to the sender, which sends each event by itself. Keys: about three events a key, in
batches of 20,000, into the states; none with `--keys 0`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import readings

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.sources import Stream
from fivefold.core.types import Type
from fivefold.features.lookup import Vector
from fivefold.features.state.mark import Mark
from fivefold.features.stream import catch_up, fed
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.materialise import materialise_views
from fivefold.ports.online import OnlineStore
from fivefold.realtime.lookup.service import FeatureService
from fivefold.realtime.streams.sending import Sender
from fivefold.workspace import open_workspace

PROJECT = '''
import fivefold as ff
past = ff.Table("past", "past.csv", time="at", id="event_id",
                schema={"event_id": str, "place": str, "at": "timestamp", "amount": float})
sales = ff.Stream("sales", schema={"event_id": str, "place": str, "amount": float}, time="at", id="event_id",
                  key="place", history=past)
seen = ff.FeatureView("seen", ff.Entity("place", key="place"), sales, [ff.last("amount"), ff.count(over="1h")])
'''
WORKER = """
import sys, threading
from pathlib import Path
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import open_workspace
with open_workspace(Path(sys.argv[1])) as workspace, Streaming(workspace) as streaming:
    print("ready", flush=True)
    streaming.run(threading.Event())
"""
A_SECOND = 500
WAITED_FOR = 10


def freshness(folder: Path, seconds: float, default: str = "") -> dict[str, Any]:
    folder.mkdir(parents=True)
    (folder / "project.py").write_text(PROJECT)
    (folder / "fivefold.toml").write_text(f'project = "fresh"\n{default}')
    (folder / "past.csv").write_text("event_id,place,at,amount\na,nowhere,2026-01-01T00:00:00Z,1.0\n")
    from_sent: list[float] = []
    from_given: list[float] = []
    with open_workspace(folder) as workspace:
        apply(workspace, plans.check(workspace), plans.plan(workspace))
        materialise_views(workspace, [], workspace.clock() - 3_600_000_000)
        stream = workspace.project.get(Stream.kind, "sales")
        assert isinstance(stream, Stream)
        broker, store = workspace.broker(stream), workspace.online()
        sender, service = Sender(stream, broker), FeatureService(workspace, store)
        lookup = service.lookup(["seen.last_amount"])
        with subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            worker.stdout.readline()
            began, number = time.perf_counter(), 0
            while (now := time.perf_counter() - began) < seconds:
                if number > now * A_SECOND:
                    time.sleep(0.0005)
                    continue
                number += 1
                place = f"p{number % 200}"
                # a microsecond ago, so that it counts at once
                event = {"event_id": f"e{number}", "place": place, "at": workspace.clock() - 1, "amount": float(number)}
                given = time.perf_counter()
                sender.send([event])
                sent = time.perf_counter()
                if number % WAITED_FOR == 0:
                    while True:
                        (vector,) = lookup.vectors(store, [{"place": place}], workspace.clock() + 1)
                        assert isinstance(vector, Vector)
                        if vector.values[0] == float(number):
                            break
                        time.sleep(0.0005)
                    seen = time.perf_counter()
                    from_sent.append((seen - sent) * 1e3)
                    from_given.append((seen - given) * 1e3)
            worker.kill()
        broker.close()
        store.close()
    return {"events": number, "events_per_s": round(number / now), "waited_for": len(from_sent),
            "once_with_the_broker": percentiles(from_sent), "once_given_to_the_sender": percentiles(from_given)}


def percentiles(took: list[float]) -> dict[str, float]:
    took = sorted(took)
    return {"p50_ms": round(statistics.median(took), 2), "p99_ms": round(took[int(len(took) * 0.99)], 2)}


def keys(folder: Path, count: int, features: list[Any]) -> dict[str, Any]:
    """A million entities fed about three events each: what they take on disk, and the process at most in memory."""
    past = ff.Table("past", "past.csv", time="at")
    stream = ff.Stream("sales", schema={"who": str, "a": float, "b": float, "c": float}, time="at", history=past)
    view = ff.FeatureView("v", ff.Entity("who", key="who"), stream, features)
    schemas = {"past": {"who": Type.STRING, "at": Type.TIMESTAMP, **dict.fromkeys("abc", Type.FLOAT64)}}
    scales = {"past": {"a": 20, "b": 20, "c": 20}}
    one = fed("v@1", view, schemas, scales, lambda mark, events: events)
    store = connect(OnlineStore, f"lmdb:{folder}")
    chance, start = np.random.default_rng(3), 1_700_000_000_000_000
    began = time.perf_counter()

    def batches() -> Any:
        for offset in range(0, 3 * count, 20_000):
            size = min(20_000, 3 * count - offset)
            times = start + offset + np.arange(size)
            yield offset + size, start, pa.table({
                "who": [f"k{n}" for n in chance.integers(0, count, size)],
                "at": pa.array(times, pa.int64()).cast(pa.timestamp("us")),
                **{c: chance.normal(size=size) for c in "abc"}})

    catch_up(store, one, Mark(start, "made", stream="sales", cut={0: -1}), 0, batches())
    seconds = time.perf_counter() - began
    held = sum(1 for space in store.spaces() for _ in store.scan(space))
    store.close()
    disk = sum(p.stat().st_blocks * 512 for p in folder.rglob("data.mdb"))
    return {"keys": held, "events": 3 * count, "events_per_s": round(3 * count / seconds),
            "disk_bytes_per_key": round(disk / held),
            "process_most_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        found["freshness"] = {"log": freshness(root / "log", options.seconds)}
        with readings.kafka_server(root / "broker") as address:
            default = f'[default]\nstream = "kafka://{address}/sales"\n'
            found["freshness"]["kafka"] = freshness(root / "kafka", options.seconds, default)
    lasts = [ff.last("a"), ff.last("b"), ff.last("c")]
    hops = [ff.sum("a", over="1h", hop="5m"), ff.max("b", over="1d", hop="1h"), ff.count(over="1h", hop="5m")]
    for what, features in (("last of 3 columns", lasts), ("3 hop windows", hops)) if options.keys else ():
        with tempfile.TemporaryDirectory() as name:
            found[what] = keys(Path(name), options.keys, features)
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
