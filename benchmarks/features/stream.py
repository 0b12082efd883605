"""Events a second of one stream worker with five windows, against the limit and two peers:
`python benchmarks/features/stream.py [--rounds N] [--events N] [--peer-events N]`.

The same seeded JSON events (five columns, 110 bytes) on one partition, by three hot keys and by 10,000 keys. Ours
decodes, checks, drops duplicates (`ids`) or not, keeps the events for the archive, and brings them into the exact
sliding windows' states, each batch in one durable commit. The limit is confluent-kafka's `consume` and msgspec into a
struct, nothing else; on the embedded log, reading it and the same decoder. The peers, in environments of their own
(`benchmarks/peers.sh quix bytewax`), keep tumbling windows, the cheapest they have, and then the sliding ones that are
nearest to ours. Every side is a process of its own, sides take turns, and ratios are medians of those of each round.
Writes benchmarks/results/stream.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import readings
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from fivefold.backends import connect
from fivefold.ports.streams import Broker
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import open_workspace

HERE = Path(__file__).parent
PEERS = HERE.parent / ".peers"
RESULT = HERE.parent / "results" / "stream.json"
KEYS = {"hot": 3, "many": 10_000}
LIMIT_BATCH = 5_000


class Event(msgspec.Struct):
    event_id: str
    place: str
    at: int
    delay: float
    kind: str


def limit_kafka(address: str, topic: str, count: int) -> dict[str, float]:
    consumer = Consumer({"bootstrap.servers": address, "group.id": "limit", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    decode = msgspec.json.Decoder(Event).decode
    first = consumer.consume(1, 30)
    wall, cpu = time.perf_counter(), time.process_time()
    done = len(first)
    while done < count:
        found = consumer.consume(LIMIT_BATCH, 0.02)
        events = [decode(message.value()) for message in found]
        done += len(events)
    out = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "events": done}
    consumer.close()
    return out


def limit_log(url: str, topic: str, count: int) -> dict[str, float]:
    broker = connect(Broker, url, topic=topic)
    decode = msgspec.json.Decoder(Event).decode
    wall, cpu = time.perf_counter(), time.process_time()
    done = 0
    while done < count:
        events = [decode(record.value) for record in broker.read(0, done - 1, LIMIT_BATCH)]
        done += len(events)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "events": done}


def ours(folder: Path, count: int) -> dict[str, float]:
    """From the second batch on, as the others from their first event: connections are made by then."""
    with open_workspace(folder) as workspace, Streaming(workspace) as streaming:
        first = 0
        while not first:
            first = streaming.step(0.05)
        wall, cpu = time.perf_counter(), time.process_time()
        done = 0
        while first + done < count:
            done += streaming.step(0.05)
        out = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "events": done}
        (report,) = streaming.reports()
        (standing,) = report.standings.values()
        assert standing.on_time + standing.late == count, standing
    return out


def alone(*words: object, python: Path | str = sys.executable) -> dict[str, float]:
    """The JSON that a process of its own prints last; rates in it are per second of wall and of CPU."""
    done = subprocess.run([str(w) for w in (python, *words)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr[-3000:]}")
    out = json.loads(done.stdout.splitlines()[-1])
    return {"per_s": out["events"] / out["wall"], "per_cpu_s": out["events"] / out["cpu"]}


def send(address: str, topic: str, count: int, keys: int) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": address, "acks": "all", "queue.buffering.max.messages": 2_000_000})
    for message in readings.events(count, keys):
        producer.produce(topic, message.value, message.key)
    producer.flush(60)


def rounds(given: argparse.Namespace, address: str, root: Path) -> dict[str, Any]:
    found: dict[str, list[dict[str, float]]] = {}
    for setting, keys in KEYS.items():
        send(address, f"full-{setting}", given.events, keys)
        send(address, f"part-{setting}", given.peer_events, keys)
        send(address, f"few-{setting}", given.sliding_events, keys)
        log = f"log:{root}/log-{setting}"
        broker = connect(Broker, log, topic="readings")
        messages = list(readings.events(given.events, keys))
        for start in range(0, len(messages), 1000):
            broker.append(messages[start : start + 1000])
        broker.close()
        for name, url in (("kafka", f"kafka://{address}/full-{setting}"), ("log", log)):
            for ids in (True, False):
                readings.make(root / f"{setting}-{name}-{'ids' if ids else 'plain'}", url, ids=ids)
    for number in range(given.rounds):
        for setting in KEYS:
            def keep(side: str, measured: dict[str, float], setting: str = setting, number: int = number) -> None:
                found.setdefault(f"{setting}: {side}", []).append(measured)
                print(f"{number} {setting}: {side:22} {measured['per_s']:9.0f}/s {measured['per_cpu_s']:9.0f}/cpu s",
                      file=sys.stderr, flush=True)

            keep("limit kafka", alone(__file__, "--side", "limit-kafka", address, f"full-{setting}", given.events))
            keep("limit log", alone(__file__, "--side", "limit-log", f"log:{root}/log-{setting}", "readings",
                                    given.events))
            for name in ("kafka", "log"):
                for ids in ("ids", "plain"):
                    with tempfile.TemporaryDirectory() as folder:
                        copy = Path(folder) / "project"
                        shutil.copytree(root / f"{setting}-{name}-{ids}", copy)
                        keep(f"ours {name} {ids}", alone(__file__, "--side", "ours", copy, given.events))
            for peer in ("quix", "bytewax"):
                python = PEERS / peer / "bin" / "python"
                if not python.exists():
                    continue
                for kind, topic, count in (("tumbling", "part", given.peer_events),
                                           ("sliding", "few", given.sliding_events)):
                    if kind == "sliding" and number >= given.sliding_rounds:
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        keep(f"{peer} {kind}", alone(HERE / f"{peer}_peer.py", address, f"{topic}-{setting}", count,
                                                     f"{folder}/state", kind, python=python))
    return found


def ratios(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Ours by each other side, round by round: medians, of wall and of CPU."""
    out: dict[str, dict[str, float]] = {}
    for setting in KEYS:
        for name in ("kafka", "log"):
            for ids in ("ids", "plain"):
                mine = found[f"{setting}: ours {name} {ids}"]
                others = [f"limit {name}", *(f"{p} {k}" for p in ("quix", "bytewax") for k in ("tumbling", "sliding"))]
                for other in others:
                    theirs = found.get(f"{setting}: {other}")
                    if theirs:
                        pairs = list(zip(mine, theirs, strict=False))
                        out[f"{setting}: ours {name} {ids} / {other}"] = {
                            rate: statistics.median(a[rate] / b[rate] for a, b in pairs)
                            for rate in ("per_s", "per_cpu_s")
                        }
    return out


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--events", type=int, default=200_000)
    ask.add_argument("--peer-events", type=int, default=40_000)
    ask.add_argument("--sliding-events", type=int, default=4_000)
    ask.add_argument("--sliding-rounds", type=int, default=1)
    ask.add_argument("--side", nargs="+", help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.side:
        side, *words = given.side
        measured = {
            "limit-kafka": lambda: limit_kafka(words[0], words[1], int(words[2])),
            "limit-log": lambda: limit_log(words[0], words[1], int(words[2])),
            "ours": lambda: ours(Path(words[0]), int(words[1])),
        }[side]()
        print(json.dumps(measured))
        return
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="fivefold-stream-") as folder:
        root = Path(folder)
        with readings.kafka_server(root / "kafka") as address:
            found = rounds(given, address, root)
    result = {
        "command": f"python benchmarks/features/stream.py --rounds {given.rounds} --events {given.events} "
        f"--peer-events {given.peer_events} --sliding-events {given.sliding_events} "
        f"--sliding-rounds {given.sliding_rounds}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_before": load,
        "load_average_after": os.getloadavg(),
        "versions": {
            p: importlib.metadata.version(p) for p in ("confluent-kafka", "msgspec", "lmdb", "numpy", "pyarrow")
        },
        "ratios": ratios(found),
        "medians": {
            side: {rate: statistics.median(one[rate] for one in each) for rate in ("per_s", "per_cpu_s")}
            for side, each in found.items()
        },
        "rounds": found,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "rounds"}, indent=1))


if __name__ == "__main__":
    main()
