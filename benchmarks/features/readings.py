"""What the stream benchmarks share: seeded events on a broker, and a project with five windows over them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from fivefold.core.sources import Stream
from fivefold.core.time import HOUR, MINUTE, instant, iso
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.materialise import materialise_views
from fivefold.ports.streams import Message
from fivefold.workspace import Workspace, open_workspace

START = instant("2026-01-01T00:00:00Z")
DAYS = 10
HOT = ("EWR", "JFK", "LGA")
COLUMNS = ("event_id", "place", "at", "delay", "kind")

PROJECT = '''
import fivefold as ff

past = ff.Table("past", "past.csv", time="at", id="event_id", schema={{
    "event_id": str, "place": str, "at": "timestamp", "delay": float, "kind": str}})
readings = ff.Stream("readings", schema={{
    "event_id": str, "place": str, "at": "timestamp", "delay": float, "kind": str}},
                     time="at", {id}history=past, key="place", lateness="1h")
place = ff.Entity("place", key="place")
delays = ff.FeatureView("delays", place, readings, {features})
model = ff.Model("m", ff.Target(past, "kind = 'landed'"), features=[delays], learner=ff.learner("logistic"),
                 split=ff.RandomSplit())
'''
WINDOWS = '''[ff.count(over="1h"), ff.mean("delay", over="1h"), ff.mean("delay", over="3h"),
    ff.max("delay", over="1d"), ff.std("delay", over="6h")]'''


def events(count: int, keys: int, start: int = START, span: int = DAYS * 24 * HOUR) -> Iterator[Message]:
    """Events over ten days, a tenth of them up to five minutes late; few keys are airports, many are numbered."""
    chance = random.Random(0)
    for n in range(count):
        place = HOT[chance.randrange(keys)] if keys <= len(HOT) else f"N{chance.randrange(keys):05d}"
        at = start + span * n // count - (chance.randrange(5 * MINUTE) if chance.random() < 0.1 else 0)
        row = {
            "event_id": f"reading-{n:08d}",
            "place": place,
            "at": at,
            "delay": round(chance.gauss(10, 40), 2),
            "kind": chance.choice(("landed", "departed", "diverted")),
        }
        yield Message(json.dumps(row, separators=(",", ":")).encode(), place.encode())


def make(folder: Path, broker: str, *, ids: bool = True, features: str = WINDOWS, at: int = START) -> None:
    """A project whose stream is on the broker of a URL, applied and materialised."""
    folder.mkdir(parents=True)
    (folder / "project.py").write_text(PROJECT.format(id='id="event_id", ' if ids else "", features=features))
    (folder / "fivefold.toml").write_text(f'project = "readings"\n[default]\nstream = "{broker}"\n')
    (folder / "past.csv").write_text(",".join(COLUMNS) + f"\nfirst,{HOT[0]},{iso(at - HOUR)},1.5,landed\n")
    with open_workspace(folder) as workspace:
        apply(workspace, plans.check(workspace), plans.plan(workspace))
        materialise_views(workspace, [], at)


def stream_of(workspace: Workspace) -> Stream:
    """The stream of the project."""
    found = workspace.project.get(Stream.kind, "readings")
    assert isinstance(found, Stream)
    return found


@contextlib.contextmanager
def kafka_server(folder: Path) -> Iterator[str]:
    """The address of a Kafka broker: the development server of the package noida-db."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # the console script is a wrapper: to kill it would leave the server behind
    binary = Path(str(files("noida_db"))) / "noida-db"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [binary, "start", "--data-dir", folder / "data", "--only", "kafka", "--kafka-port", str(port)],
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**os.environ},
        )
    try:
        until = time.monotonic() + 60
        while "press Ctrl-C" not in log.read_text(errors="replace"):
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the broker did not come up:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
