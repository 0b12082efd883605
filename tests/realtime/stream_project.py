"""A small project with a stream, for tests: its past in a file, its events on a broker, four views of two entities, one of which no model uses."""

from __future__ import annotations

import csv
import datetime
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fivefold.core.sources import Stream
from fivefold.core.time import instant
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.ports.streams import Message
from fivefold.workspace import Workspace, open_workspace

START = instant("2026-03-01T00:00:00Z")
MINUTE = 60_000_000

PROJECT = '''
import fivefold as ff

past = ff.Table("past", "data/past/*.csv", time="at", id="event_id", seq="nth", schema={
    "event_id": str, "who": str, "shop": int, "at": "timestamp", "nth": int, "amount": float, "kind": str})
sales = ff.Stream("sales", schema={"event_id": str, "who": str, "shop": int, "nth": int, "amount": float, "kind": str},
                  time="at", id="event_id", seq="nth", history=past, key="who", lateness="30m",
                  checks=[ff.check("amount < 1000", on_fail="quarantine")])
customer, shop = ff.Entity("customer", key="who"), ff.Entity("shop", key="shop")
spending = ff.FeatureView("spending", customer, sales, [
    ff.count(over="1h"), ff.sum("amount", over="2h"), ff.mean("amount", over="1d"), ff.std("amount", over="3h"),
    ff.last("amount"), ff.last("kind"), ff.distinct("kind", over="2h"), ff.top("kind", over="1d"), ff.count(name="ever"),
    ff.quantile("amount", 0.5, over="4h"), ff.min("kind", over="1h"), ff.first("amount", over="2h")])
takings = ff.FeatureView("takings", shop, sales, [
    ff.sum("amount", over="6h", hop="10m"), ff.max("amount", over="2h", hop="5m"), ff.count(over="1h", hop="5m")])
latest = ff.FeatureView("latest", customer, sales, [ff.last("amount"), ff.last("nth")], ttl="12h")
nobodys = ff.FeatureView("nobodys", shop, sales, [ff.count(over="1d")])
model = ff.Model("m", ff.Target(past, "shop > 0"), features=[spending, takings, latest],
                 learner=ff.learner("logistic"), split=ff.RandomSplit())
live = ff.Endpoint("m", model)
'''

COLUMNS = ("event_id", "who", "shop", "at", "nth", "amount", "kind")
Event = dict[str, Any]


def iso(micros: int) -> str:
    return datetime.datetime.fromtimestamp(micros / 1e6, datetime.UTC).isoformat().replace("+00:00", "Z")


def make(folder: Path, past: Sequence[Event], settings: str = "") -> None:
    """Write the project, with these rows as its past."""
    (folder / "data" / "past").mkdir(parents=True)
    (folder / "project.py").write_text(PROJECT)
    (folder / "fivefold.toml").write_text(f'project = "shop"\n{settings}')
    write_past(folder / "data" / "past" / "one.csv", past)


def write_past(path: Path, rows: Sequence[Event]) -> None:
    with path.open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(COLUMNS)
        for row in rows:
            out.writerow([iso(row[c]) if c == "at" else "" if row[c] is None else row[c] for c in COLUMNS])


@contextmanager
def opened(folder: Path, **more: Any) -> Iterator[Workspace]:
    with open_workspace(folder, **more) as workspace:
        yield workspace


def applied(workspace: Workspace) -> None:
    apply(workspace, plans.check(workspace), plans.plan(workspace))


def events(seed: int, count: int, start: int = START, jitter: int = 20, people: int = 6) -> list[Event]:
    """Events in the order in which they arrive, at most `jitter` minutes out of the order of their times."""
    chance = random.Random(seed)
    rows = [
        {
            "event_id": f"e{seed}-{n}", "who": f"c{chance.randrange(people)}", "shop": chance.randrange(3),
            "at": start + chance.randrange(count) * MINUTE, "nth": chance.choice([0, 1, None]),
            "amount": chance.choice([None, 1.5, 2.25, 99.9, chance.uniform(-50, 500)]),
            "kind": chance.choice(["a", "b", "é", None]),
        }
        for n in range(count)
    ]
    return sorted(rows, key=lambda r: r["at"] + chance.randrange(jitter + 1) * MINUTE)


def send(workspace: Workspace, rows: Sequence[Event | bytes]) -> None:
    """Append events to the stream's broker; bytes as they are."""
    stream = workspace.project.get(Stream.kind, "sales")
    assert isinstance(stream, Stream)
    broker = workspace.broker(stream)
    try:
        broker.append([
            Message(row, b"?") if isinstance(row, bytes) else Message(json.dumps(row).encode(), str(row["who"]).encode())
            for row in rows
        ])
    finally:
        broker.close()
