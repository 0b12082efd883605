"""Contract 1: history = stream = look-up = the oracle, bit for bit, however the events came and the workers fared.

The worker, the archiver, look-ups and the as-of join are the real ones, over a log, a store in memory and Parquet files;
only the catalog is a dictionary, so that an example takes a fraction of a second.
"""

from __future__ import annotations

import json
import math
import os
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import msgspec
import naive
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fivefold as ff
import fivefold.features.materialise
from fivefold.backends import connect
from fivefold.backends.log.streams import Log
from fivefold.core.errors import Invalid
from fivefold.core.features import FeatureView
from fivefold.core.project import collect
from fivefold.core.time import DAY
from fivefold.core.types import Type
from fivefold.data.archive import OFFSET, archived, with_archives
from fivefold.data.duck import parquet
from fivefold.data.ingest import Places
from fivefold.data.parts import arrow_schema, write_part
from fivefold.data.snapshots import Part, Snapshot, part_file, stretch_of
from fivefold.data.take import profile_of
from fivefold.features.asof import as_of
from fivefold.features.lookup import Lookup, Seen
from fivefold.features.materialise import Cut, materialise, view_plan
from fivefold.features.state.key import View
from fivefold.features.state.mark import Mark
from fivefold.features.stream import catch_up, fed
from fivefold.ports.online import OnlineStore
from fivefold.ports.streams import Message
from fivefold.realtime.streams.archiving import archive
from fivefold.realtime.streams.worker import PartitionWorker, read_letter
from fivefold.workspace.events import LETTERS, archives_of, events_after, intake_space, without_past

Row = dict[str, Any]

MINUTE = 60_000_000
START = 20_000 * DAY + 5 * MINUTE
LATENESS = 30 * MINUTE
SCALE = 20
LARGEST = (2**40 - 0.5) / 2**SCALE  # what rounds to 2^40 cannot be summed

NAMES = {"at": "timestamp", "event": str, "who": str, "shop": int, "nth": int, "x": float, "n": int, "ok": bool,
         "kind": str, "seen": "timestamp"}
SCHEMA = {"at": Type.TIMESTAMP, "event": Type.STRING, "who": Type.STRING, "shop": Type.INT64, "nth": Type.INT64,
          "x": Type.FLOAT64, "n": Type.INT64, "ok": Type.BOOL, "kind": Type.STRING, "seen": Type.TIMESTAMP}
ARROW = arrow_schema(SCHEMA)
PAST = ff.Table("past", "past.csv", time="at", id="event", seq="nth", schema=NAMES)
SALES = ff.Stream("sales", schema={c: k for c, k in NAMES.items() if c != "at"}, time="at", id="event", seq="nth",
                  history=PAST, key="who", lateness="30m", checks=[ff.check("n < 900", on_fail="quarantine")])
WHO, SHOP = ff.Entity("customer", key="who"), ff.Entity("shop", key="shop")
PAIR = ff.Entity("pair", key=["who", "shop"])
EVERY = [ff.count, *(partial(f, "x") for f in (ff.sum, ff.mean, ff.std)), partial(ff.sum, "n"), partial(ff.mean, "ok"),
         partial(ff.min, "kind"), partial(ff.max, "x"), partial(ff.first, "seen"), partial(ff.last, "kind"),
         partial(ff.distinct, "kind"), partial(ff.distinct, "x"), partial(ff.quantile, "x", 0.5), partial(ff.top, "kind"),
         partial(ff.top, "n", 2), partial(ff.count, "ok")]


def every(start: int, **more: Any) -> list[Any]:
    return [f(name=f"f{start + i}", **more) for i, f in enumerate(EVERY)]


VIEWS = [
    ff.FeatureView("exact", WHO, SALES, [*every(0, over="1h"), *every(100, over="3h", ago="20m")]),
    ff.FeatureView("ever", WHO, SALES, [*every(0), ff.last("x", over="1h", name="fresh")], delay="7m"),
    ff.FeatureView("hops", SHOP, SALES, [*every(0, over="2h", hop="10m"), ff.last("n", name="newest")], ttl="40m"),
    ff.FeatureView("both", WHO, SALES, [*every(0, over="1h", hop="5m"), *every(100), *every(200, ago="15m")]),
    ff.FeatureView("pair", PAIR, SALES, [ff.count(over="30m"), ff.sum("x")]),
    ff.FeatureView("newest", WHO, SALES, [ff.last("x"), ff.last("n"), ff.last("ok")], ttl="2h"),
    ff.FeatureView("texts", WHO, SALES, [ff.last("kind"), ff.last("seen")]),
]
SCALES = {"past": {"x": SCALE}}
FEATURES = SimpleNamespace(ref="test", features=VIEWS)
PROJECT = collect("law", [PAST, SALES, WHO, SHOP, PAIR, *VIEWS])
PEOPLE, SHOPS = ["ann", "bob", "cyd", "nobody"], [0, 1, 2, 9]


@pytest.fixture(autouse=True, scope="module")
def small_tiles() -> Iterator[None]:
    """Tiles of so few rows that a short example makes some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fivefold.features.materialise, "View", partial(View, tile_rows=3, fold_at=2))
        yield


class Catalog:
    """Snapshots in a dictionary, and leases that are always free."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Snapshot]] = {}
        self.snapshots, self.leases = self, SimpleNamespace(acquire=lambda *_: True, release=lambda *_: None)

    def record(self, source: str, digest: str, parts: Any, **_: Any) -> None:
        self.kept.setdefault(source, []).append(msgspec.convert(parts, Snapshot))

    def get(self, source: str, digest: str) -> Any:
        return SimpleNamespace(parts=msgspec.to_builtins(next(s for s in self.kept[source] if s.digest == digest)))


class Shop:
    """A stream with everything around it, in one folder."""

    def __init__(self, folder: Path, partitions: int, past: list[Row], connection: duckdb.DuckDBPyConnection) -> None:
        self.now = START
        self.broker = Log(f"log:{folder}/log?partitions={partitions}", topic="sales", clock=lambda: self.now)
        self.partitions = partitions
        self.store: OnlineStore = connect(OnlineStore, "memory:")
        self.connection = connection
        self.project, self.catalog, self.actor = PROJECT, Catalog(), "test"
        self.places = Places(folder / "tables", folder / "scratch")
        self.lookup = Lookup(FEATURES, {"past": SCHEMA}, SCALES, lambda view: f"{view.name}@1")
        self.workers: dict[int, PartitionWorker] = {}
        self.served: list[tuple[Row, int, Any]] = []
        self.sent: list[list[tuple[bytes, int]]] = [[] for _ in range(partitions)]
        self.materialised = 0
        made, count, size = write_part(table(past).to_reader(), SCHEMA, self.places.tables, "past")
        profile = profile_of(connection, SCHEMA, parquet([part_file(self.places.tables, "past", made)]))
        kept = Snapshot("past", SCHEMA, (Part("one", "one", made, count, size, profile=profile),))
        self.catalog.record("past", kept.digest, msgspec.to_builtins(kept))

    # what the worker and the archiver ask of a workspace

    def find_snapshot(self, source: str) -> Snapshot | None:
        return self.catalog.kept[source][-1] if source in self.catalog.kept else None

    @contextmanager
    def database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        yield self.connection

    # what happens

    def send(self, partition: int, raw: bytes, now: int) -> None:
        self.now = max(self.now, now)
        self.broker.append([Message(raw)], partition)
        self.sent[partition].append((raw, self.now))

    def fed(self, view: FeatureView) -> Any:
        return fed(f"{view.name}@1", view, {"past": SCHEMA}, SCALES, partial(without_past, self, SALES))

    def restart(self, batch: int) -> None:
        self.workers = {p: PartitionWorker(self, SALES, p, self.broker, self.store, [self.fed(v) for v in VIEWS], batch)
                        for p in range(self.partitions)}

    def step(self, partition: int) -> int:
        worker = self.workers[partition]
        if worker.outdated():
            worker.refresh()
        return worker.step()

    def archive(self) -> None:
        archive(self, SALES, self.store, self.partitions)
        for worker in self.workers.values():
            worker.refresh()

    def materialise(self, at: int) -> None:
        snapshot = self.find_snapshot("past")
        assert snapshot is not None
        self.materialised += 1
        for view in VIEWS:
            cut = Cut("sales", {**dict.fromkeys(range(self.partitions), -1), **archived(snapshot, "sales")})
            materialise(self.connection, self.store, f"{view.name}@1", view, at=at, meaning=view.name,
                        snapshot=snapshot.digest, schemas={"past": SCHEMA}, scales=SCALES,
                        relation=lambda _: parquet(snapshot.files(self.places.tables)), cut=cut,
                        before_switch=partial(self._catch_up, self.fed(view)), threads=1)

    def _catch_up(self, one: Any, mark: Mark) -> None:
        for partition, cut in mark.cut.items():
            catch_up(self.store, one, mark, partition, events_after(self, self.store, SALES, partition, cut))

    def ask(self, moments: list[int]) -> None:
        """Look up all entities, at the earliest moment there is or later, and remember what was served."""
        rows = [{"who": w, "shop": s} for w in PEOPLE for s in SHOPS]
        for at in moments:
            try:
                found = self.lookup.vectors(self.store, rows, at)
            except Invalid as e:
                assert "answers for" in e.message
                continue
            self.served += [(row, at, vector) for row, vector in zip(rows, found, strict=True)]

    def since(self) -> int:
        """The earliest moment that look-ups answer for."""
        marks = [SimpleNamespace(since=0)]
        for space in self.store.spaces():
            if "@1" in space and ("~" not in space or "/" in space):  # a past's own space has no moment
                (raw,) = self.store.get([(space, b"")])
                marks.append(fivefold.features.materialise.read_mark(raw))
        return max(m.since for m in marks)

    # what must be so

    def rows_of(self, seen: Seen) -> list[Row]:
        """The rows that a look-up had seen, in source order."""
        past = msgspec.convert(self.catalog.get("past", seen.snapshot).parts, Snapshot)
        rows = [row for file in past.files(self.places.tables) for row in plain(pq.read_table(file))]
        cut, kept = archived(past, "sales"), self.find_snapshot("sales")
        for part in kept.parts if kept else ():
            at = stretch_of(part)
            assert at is not None
            for row in plain(pq.read_table(part_file(self.places.tables, "sales", part.digest))):
                if cut.get(at.partition, -1) < row[OFFSET] <= seen.applied[at.partition]:
                    rows.append({c: row[c] for c in SCHEMA})
        return rows

    def check(self) -> None:
        """Everything that was served is what history and the oracle make of the rows that were applied then."""
        groups: dict[str, list[tuple[Row, int, Any]]] = {}
        for one in self.served:
            groups.setdefault(repr(sorted(one[2].seen.items())), []).append(one)
        for of in groups.values():
            seen = of[0][2].seen
            assert set(seen) == {v.name for v in VIEWS}
            for view in VIEWS:
                self._compare(view, self.rows_of(seen[view.name]), of)

    def _compare(self, view: FeatureView, rows: list[Row], of: list[tuple[Row, int, Any]]) -> None:
        plan = view_plan(view, {"past": SCHEMA}, SCALES, lambda _: "given")
        keys = view.entity.key
        asked = {(*(row[k] for k in keys), at): n for n, (row, at, _) in enumerate(of)}
        spine = [{**{k: of[n][0][k] for k in keys}, "asked": of[n][1]} for n in asked.values()]
        self.connection.register("given", table(rows))
        made = as_of(pa.table({**{k: pa.array([q[k] for q in spine], ARROW.field(k).type) for k in keys},
                               "asked": pa.array([q["asked"] for q in spine], pa.int64())}),
                     "asked", [plan], connection=self.connection, event_times=True, threads=1)
        self.connection.unregister("given")
        history = {c: exact(values(made[c])) for a in plan.aggregates for c in (a.name, f"{a.name}__time")}
        assert history == {c: exact(v) for c, v in naive.as_of(spine, "asked", [(plan, rows)]).items()}
        place = {key: n for n, key in enumerate(asked)}
        names = [(self.lookup.names.index(a.name), a.name) for a in plan.aggregates]
        for row, at, vector in of:
            n = place[(*(row[k] for k in keys), at)]
            for i, name in names:
                served = exact([vector.values[i]])[0], vector.times[i]
                assert served == (history[name][n], history[f"{name}__time"][n]), (name, row, at)

    def letters(self, partition: int) -> list[tuple[int, str]]:
        found = [read_letter(raw) for _, raw in self.store.scan(intake_space("sales", partition), prefix=LETTERS)]
        return [(one.offset, one.reason) for one in found]


def table(rows: list[Row]) -> pa.Table:
    columns = [pa.array([r[f.name] for r in rows], pa.int64()).cast(f.type) if pa.types.is_timestamp(f.type)
               else pa.array([r[f.name] for r in rows], f.type) for f in ARROW]
    return pa.table(columns, schema=ARROW)


def plain(given: pa.Table) -> list[Row]:
    return [dict(zip(given.column_names, row, strict=True)) for row in zip(*map(values, given.columns), strict=True)]


def values(column: Any) -> list[Any]:
    return (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()


def exact(given: list[Any]) -> list[Any]:
    return [struct.pack("<d", v) if isinstance(v, float) else v for v in given]


class Verdicts:
    """What becomes of each record of a partition, one at a time and as plainly as can be."""

    def __init__(self) -> None:
        self.newest = -math.inf
        self.ids: list[tuple[str, int]] = []
        self.counts = dict.fromkeys(("on_time", "late", "dead", "duplicate"), 0)
        self.letters: list[tuple[int, str]] = []

    def take(self, offset: int, raw: bytes, arrived: int) -> None:
        verdict = self._verdict(raw, arrived)
        if verdict not in self.counts:
            self.letters.append((offset, verdict))
            verdict = "dead"
        self.counts[verdict] += 1

    def _verdict(self, raw: bytes, arrived: int) -> str:
        try:
            event = json.loads(raw)
        except ValueError:
            return "undecodable"
        if not isinstance(event, dict):
            return "undecodable"
        if event["at"] is None:
            return "invalid"
        if event["at"] > arrived + DAY:
            return "in_future"
        n, x = event["n"] or 0, event["x"] or 0.0
        if not -(2**40) < n < 900 or abs(x) >= LARGEST:
            return "invalid"
        before, self.newest = self.newest, max(self.newest, min(event["at"], arrived))
        if event["at"] < before - LATENESS:
            return "too_late"
        stretch = event["at"] // DAY
        if any(name == event["event"] and abs(at // DAY - stretch) <= 1 for name, at in self.ids):
            return "duplicate"
        if event["event"] is not None:
            self.ids.append((event["event"], event["at"]))
        return "late" if event["at"] < before else "on_time"


def event(chance: random.Random, at: int, name: str | None) -> Row:
    return {
        "at": at, "event": name, "who": chance.choice([*PEOPLE[:3], *PEOPLE[:3], None]),
        "shop": chance.choice([0, 1, 2, 2, None]), "nth": chance.choice([None, 0, 0, 1, -1]),
        "x": chance.choice([None, -0.0, 0.1, 1.5, -3.3, chance.uniform(-1e5, 1e5), 1e-300, 1e9, LARGEST, -LARGEST / 2]),
        "n": chance.choice([None, -5, 0, 1, 1, 2, chance.randint(-(2**39), 899), 1000, -(2**40)]),
        "ok": chance.choice([None, True, False]), "kind": chance.choice([None, "", "a", "a", "é", "𝄞", "\uffee"]),
        "seen": chance.choice([None, -1, 0, at]),
    }


def past_event(chance: random.Random, at: int, name: str | None) -> Row:
    """Nothing holds the past to the stream's checks, only to what can be summed."""
    made = event(chance, at, name)
    return made | {"x": 7.0 if abs(made["x"] or 0) >= LARGEST else made["x"], "n": 3 if made["n"] == -(2**40) else made["n"]}


def arriving(chance: random.Random, count: int, span: int, names: list[str], jumps: float) -> Iterator[tuple[bytes, int, str | None]]:
    """Events as bytes, the time of their arrival and their id: late, ahead, again, broken."""
    now = START
    sent: list[tuple[bytes, str | None]] = []
    for n in range(count):
        now += chance.randrange(2 * span * MINUTE // count)
        if chance.random() < jumps:
            now += chance.randrange(3 * DAY)
        at = now - chance.choice([0, 0, 1, MINUTE, chance.randrange(25 * MINUTE), LATENESS, LATENESS + 1, 3 * LATENESS])
        ahead = chance.choice([0] * 8 + [chance.randrange(2 * LATENESS), DAY, DAY + 1, 2 * DAY])
        at += ahead
        at = at // MINUTE * MINUTE if chance.random() < 0.4 else at
        # an id that comes again may be days old, and then it is forgotten
        name = chance.choice([f"e{n}", f"e{n}", None, f"e{chance.randrange(n + 1)}", chance.choice(names)])
        raw = json.dumps(event(chance, at, name)).encode()
        kind = chance.random()
        if kind < 0.1 and sent:
            raw, name = chance.choice(sent)
        elif kind < 0.13:
            raw, name = chance.choice([b"", b"\xff\x00", b"{", b"[1]"]), None
        elif kind < 0.15:
            raw = json.dumps(event(chance, at, name) | {"at": None}).encode()
        sent.append((raw, name))
        yield raw, now, name


OPS = st.lists(st.tuples(st.sampled_from(["send", "send", "step", "step", "restart", "archive", "materialise", "ask"]),
                         st.integers(0, 12), st.integers(-60, 60)), max_size=25)
# an example that fails is short enough as it is drawn, and shrinking one takes minutes
EXAMPLES = 600 if os.environ.get("FIVEFOLD_EXAMPLES") == "explore" else 60
PHASES = [p for p in Phase if p is not Phase.shrink]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(st.integers(1, 3), st.integers(0, 12), st.integers(0, 45), st.sampled_from([30, 300, 1000]), OPS, st.integers(0, 2**32))
def test_history_stream_lookup_and_oracle_agree(
    partitions: int, before: int, count: int, span: int, ops: list[tuple[str, int, int]], seed: int
) -> None:
    run(partitions, before, count, span, ops, seed)


def run(partitions: int, before: int, count: int, span: int, ops: list[tuple[str, int, int]], seed: int,
        look: Callable[[Shop], object] = lambda shop: None) -> None:
    chance = random.Random(seed)
    # a stream of days, with hours and days in between, or of some hours
    jumps = chance.choice([0.0, 0.0, 0.1, 0.4])
    behind = chance.choice([4 * 60 * MINUTE, 4 * DAY if jumps else 4 * 60 * MINUTE])
    past = [past_event(chance, START - chance.randrange(behind) // MINUTE * MINUTE,
                       chance.choice([f"p{n}", f"p{n}", None, "p0"])) for n in range(before)]
    waiting = list(arriving(chance, count, span, [f"p{n}" for n in range(before)] or ["e0"], jumps))
    places: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("set timezone = 'UTC'")
        shop = Shop(Path(folder), partitions, past, connection)
        try:
            shop.materialise(START + chance.randrange(-90, 90) * MINUTE)
            shop.restart(7)
            end = [("send", count, 0), *[("step", 0, 0)] * 3, ("ask", 0, 0), ("archive", 0, 0), ("ask", 3, 3)]
            for op, size, offset in [*ops, *end]:
                if op == "send":
                    for raw, now, name in waiting[:size]:
                        # what has one id has one key, so it is in one partition
                        where = chance.randrange(partitions)
                        shop.send(where if name is None else places.setdefault(name, where), raw, now)
                    waiting = waiting[size:]
                elif op == "step":
                    for partition in range(partitions):
                        if size == 0:
                            while shop.step(partition):
                                pass
                        elif chance.random() < 0.7:
                            shop.step(partition)
                elif op == "restart":
                    shop.restart(max(1, size))
                elif op == "archive":
                    shop.archive()
                elif op == "materialise" and shop.materialised < 4:
                    shop.materialise(shop.now + offset * MINUTE)
                elif op == "ask":
                    since = shop.since()
                    shop.ask([since, since + abs(offset) * MINUTE, max(since, shop.now) + 1])
            look(shop)
            shop.check()
            for partition, its in enumerate(shop.sent):
                one, standing = Verdicts(), shop.workers[partition].standing
                for offset, (raw, arrived) in enumerate(its):
                    one.take(offset, raw, arrived)
                assert standing.read == len(its) == sum(one.counts.values())
                assert {c: getattr(standing, c) for c in one.counts} == one.counts
                assert shop.letters(partition) == one.letters
        finally:
            shop.broker.close()


def test_the_archive_joins_its_past_as_one_history() -> None:
    """The history's snapshot after all was archived holds what look-ups say they saw."""

    def look(shop: Shop) -> None:
        snapshot = shop.find_snapshot("past")
        assert snapshot is not None
        assert with_archives(shop.connection, snapshot, archives_of(shop, "past"), snapshot, shop.places) == snapshot
        last = shop.served[-1][2].seen["exact"]
        whole = [row for file in snapshot.files(shop.places.tables) for row in plain(pq.read_table(file))]
        assert sorted(whole, key=repr) == sorted(shop.rows_of(last), key=repr)

    run(3, 10, 45, 300, [("send", 20, 0), ("step", 0, 0), ("archive", 0, 0), ("materialise", 0, 20)], 7, look)
