"""Look-ups against their limit and a peer: `python benchmarks/features/lookup.py [--rounds N] [--data DIR]`.

Two views of only last values, 5 and 3 float columns of the flights (`asof/prepare.py`), in LMDB; 1 and 100 entities.

1. In process. The limit is a bare loop of LMDB gets and msgspec's MessagePack over the finished values, one transaction
   a request: no moment, no types, no statuses. Feast (SQLite, its local default) in an environment of its own
   (`benchmarks/peers.sh feast`). Sides take turns; ratios are medians of those of each round.
2. Windows: one entity with 5 windows over about 190 rows.
3. `fivefold serve` as a process, over HTTP (our shape and Feast's) and gRPC, one connection, one request at a time.

Our values are compared with those of the as-of join before anything is timed. Writes benchmarks/results/lookup.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import grpc
import httpx
import lmdb
import msgspec
import pyarrow as pa

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "asof"))

import prepare  # noqa: E402

from fivefold.core.time import instant  # noqa: E402
from fivefold.core.types import Type  # noqa: E402
from fivefold.features.asof import Aggregate, Source, as_of  # noqa: E402
from fivefold.features.lookup import Lookup  # noqa: E402
from fivefold.mlops import plan as plans  # noqa: E402
from fivefold.mlops.apply import apply  # noqa: E402
from fivefold.mlops.materialise import materialise_views  # noqa: E402
from fivefold.ports.online import OnlineStore  # noqa: E402
from fivefold.realtime.grpc.features import column  # noqa: E402
from fivefold.realtime.lookup.service import FeatureService  # noqa: E402
from fivefold.realtime.protos import features_pb2 as pb  # noqa: E402
from fivefold.realtime.protos.features_pb2_grpc import FeaturesStub  # noqa: E402
from fivefold.workspace import open_workspace  # noqa: E402

FEAST = HERE.parent / ".peers" / "feast" / "bin" / "python"
RESULT = HERE.parent / "results" / "lookup.json"
MOMENT = "2013-12-31T00:00:00+00:00"
AT = instant(MOMENT)
SIZES = {1: 200, 100: 5}
"""Entities of a request, and how many requests a round has: rounds are short, so that noise falls on both sides."""

PROJECT = """
import fivefold as ff

weather_rows = ff.Table("weather_rows", "data/fv_weather.parquet", time="ts")
tail_rows = ff.Table("tail_rows", "data/fv_tail.parquet", time="ts")
pushes = ff.Table("pushes", "data/pushes.parquet", time="ts")
asked = ff.Table("asked", "data/asked.parquet", time="ts")
tail_number = ff.Entity("tail_number", key="tailnum")
weather = ff.FeatureView("weather", ff.Entity("airport", key="origin"), weather_rows, ttl="3h", features=[
    ff.last(c, name=c) for c in WEATHER])
tail = ff.FeatureView("tail", tail_number, tail_rows, ttl="30d", features=[ff.last(c, name=c) for c in TAIL])
windows = ff.FeatureView("windows", ff.Entity("place", key="place"), pushes, features=[
    ff.count(over="3h"), ff.sum("a", over="6h"), ff.mean("b", over="12h"), ff.max("c", over="1d"),
    ff.std("a", over="2d")])
# materialising takes the views that models use
late = ff.Model("late", ff.Target(asked, "late"), features=[weather, tail, windows],
                learner=ff.learner("logistic"), split=ff.RandomSplit())
"""


def make_project(root: Path, data: Path) -> None:
    (root / "data").mkdir(parents=True)
    for name in ("fv_weather", "fv_tail"):
        os.symlink(data / f"{name}.parquet", root / "data" / f"{name}.parquet")
    ages = [(place, AT - 1 - n * 900_000_000, n) for place in range(100) for n in range(192)]
    duckdb.from_arrow(
        pa.table(
            {
                "place": [p for p, _, _ in ages],
                "ts": pa.array([t for _, t, _ in ages], pa.int64()).cast(pa.timestamp("us", "UTC")),
                **{c: [float((n * k + p) % 61) / 4 for p, _, n in ages] for k, c in ((7, "a"), (11, "b"), (13, "c"))},
            }
        )
    ).write_parquet(str(root / "data" / "pushes.parquet"))
    one = {"origin": ["EWR"], "tailnum": ["N1"], "place": [1], "late": [True]}
    asked = pa.table({**one, "ts": pa.array([AT], pa.int64()).cast(pa.timestamp("us", "UTC"))})
    duckdb.from_arrow(asked).write_parquet(str(root / "data" / "asked.parquet"))
    given = f"WEATHER, TAIL = {prepare.WEATHER!r}, {prepare.TAIL!r}\n"
    (root / "project.py").write_text(given + PROJECT)
    (root / "fivefold.toml").write_text('project = "lookup"\n')
    with open_workspace(root, actor="benchmark") as w:
        apply(w, plans.check(w), plans.plan(w))
        materialise_views(w, [], AT)


def entities(data: Path) -> list[dict[str, str]]:
    """Every aircraft that has flown in the 30 days before, at the three airports in turn."""
    found = duckdb.sql(
        f"select distinct tailnum from '{data}/fv_tail.parquet' "
        f"where ts < '{MOMENT}' and ts >= timestamptz '{MOMENT}' - interval 30 day order by tailnum"
    ).fetchall()
    return [{"origin": ("EWR", "JFK", "LGA")[i % 3], "tailnum": tail} for i, (tail,) in enumerate(found)]


def history(data: Path, rows: list[dict[str, str]]) -> list[list[Any]]:
    """The features of the rows by the as-of join."""
    sources = [
        Source(
            file,
            f"read_parquet('{data}/{file}.parquet')",
            (key,),
            (key,),
            "ts",
            aggregates=tuple(
                Aggregate(c, "last", c, Type.FLOAT64, over=hours * 3_600_000_000) for c in columns
            ),
        )
        for file, key, columns, hours in (
            ("fv_weather", "origin", prepare.WEATHER, 3),
            ("fv_tail", "tailnum", prepare.TAIL, 30 * 24),
        )
    ]
    spine = pa.table(
        {k: [r[k] for r in rows] for k in ("origin", "tailnum")}
        | {"at": pa.array([AT] * len(rows), pa.int64()).cast(pa.timestamp("us"))}
    )
    table = as_of(spine, "at", sources)
    return [list(v) for v in zip(*[table[c].to_pylist() for c in (*prepare.WEATHER, *prepare.TAIL)], strict=True)]


@contextmanager
def bare(folder: Path, rows: list[dict[str, str]], values: list[list[Any]]) -> Iterator[Callable[[list[Any]], Any]]:
    """The limit: the finished values as MessagePack under two keys."""
    write, read = msgspec.msgpack.encode, msgspec.msgpack.decode
    env = lmdb.open(str(folder), map_size=1 << 28)
    with env.begin(write=True) as transaction:
        for row, of in zip(rows, values, strict=True):
            transaction.put(b"w" + row["origin"].encode(), write(of[:5]))
            transaction.put(b"t" + row["tailnum"].encode(), write(of[5:]))

    def ask(keys: list[tuple[bytes, bytes]]) -> list[Any]:
        with env.begin(buffers=True) as x:
            return [read(x.get(w)) + read(x.get(t)) for w, t in keys]

    yield ask
    env.close()


class Feast:
    """The peer as a process that is asked through its input."""

    def __init__(self, data: Path, rows: list[dict[str, str]], folder: Path) -> None:
        (folder / "keys.json").write_text(json.dumps(rows))
        command = [FEAST, HERE / "feast_online.py", data, MOMENT, folder / "keys.json"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.materialize_s = self._answer()["materialize_s"]

    def microseconds(self, size: int, calls: int) -> float:
        """Of one call, on average; as many values must be there as ours has."""
        assert self._process.stdin is not None
        print(size, calls, file=self._process.stdin, flush=True)
        found = self._answer()
        assert found["there"], "Feast found nothing"
        return float(found["seconds"]) / calls * 1e6

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def timed(call: Callable[[Any], Any], asked: list[Any]) -> float:
    """Microseconds of one call."""
    began = time.perf_counter_ns()
    for each in asked:
        call(each)
    return (time.perf_counter_ns() - began) / len(asked) / 1000


def in_process(
    lookup: Lookup, store: OnlineStore, rows: list[dict[str, str]], limit: Any, feast: Feast | None, rounds: int
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for size, calls in SIZES.items():
        asked = [[rows[(i * size + n) % len(rows)] for n in range(size)] for i in range(calls)]
        keys = [[(b"w" + r["origin"].encode(), b"t" + r["tailnum"].encode()) for r in each] for each in asked]
        ask = lambda each: lookup.vectors(store, each, AT)  # noqa: E731
        timed(ask, asked), timed(limit, keys)
        ours, bare_loop = [], []
        for number in range(12 * rounds):
            # who is first finds the caches as the other left them
            for mine in (number % 2 == 0, number % 2 == 1):
                (ours if mine else bare_loop).append(timed(ask, asked) if mine else timed(limit, keys))
        out[str(size)] = {
            "ours_us": statistics.median(ours),
            "limit_us": statistics.median(bare_loop),
            "ours_to_limit": statistics.median(map(float.__truediv__, ours, bare_loop)),
        }
        if feast is not None:
            theirs, mine_beside = [], []
            for _ in range(rounds):
                theirs.append(feast.microseconds(size, 10 if size == 1 else 3))
                mine_beside.append(timed(ask, asked))
            out[str(size)]["feast_us"] = statistics.median(theirs)
            out[str(size)]["feast_to_ours"] = statistics.median(map(float.__truediv__, theirs, mine_beside))
    return out


def served(root: Path, rows: list[dict[str, str]], rounds: int) -> dict[str, Any]:
    """Latencies of one client that asks `fivefold serve`, in milliseconds."""
    names = [*(f"weather.{c}" for c in prepare.WEATHER), *(f"tail.{c}" for c in prepare.TAIL)]
    command = [sys.executable, "-m", "fivefold.cli.main", "serve", "--port", "0", "--grpc-port", "0", "--at", MOMENT]
    with subprocess.Popen([*command, "--project", root], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = ""
            for line in server.stdout:
                said += line
                if "serving on http" in line:
                    break
            address = re.findall(r"serving gRPC on (\S+)", said)[0]
            url = re.findall(r"serving on (\S+)", said)[0]
            took: dict[str, list[float]] = {}
            with httpx.Client(base_url=url) as client, grpc.insecure_channel(address) as channel:
                stub = FeaturesStub(channel)
                for size in SIZES:
                    asked = rows[:size]
                    feast = {"features": [n.replace(".", ":") for n in names],
                             "entities": {k: [r[k] for r in asked] for k in ("origin", "tailnum")}}
                    columns = [column(k, Type.STRING, [r[k] for r in asked]) for k in ("origin", "tailnum")]
                    sides: dict[str, Callable[[], Any]] = {
                        "http": lambda asked=asked: _posted(
                            client, "/features/get", {"features": names, "entities": asked}),
                        "http_feast_shape": lambda feast=feast: _posted(client, "/get-online-features", feast),
                        "grpc": lambda columns=columns: stub.Get(pb.GetRequest(features=names, rows=columns)),
                        "grpc_arrow": lambda columns=columns: stub.Get(
                            pb.GetRequest(features=names, rows=columns, arrow=True)),
                    }
                    for number in range(20 * rounds + 20):
                        for side, call in sides.items():
                            began = time.perf_counter_ns()
                            call()
                            if number >= 20:  # the first few warm it up
                                took.setdefault(f"{side}_{size}", []).append((time.perf_counter_ns() - began) / 1e6)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    return {
        side: {"p50_ms": statistics.median(of), "p99_ms": sorted(of)[int(len(of) * 0.99)], "requests": len(of)}
        for side, of in took.items()
    }


def _posted(client: httpx.Client, path: str, body: Any) -> None:
    answer = client.post(path, json=body)
    if answer.status_code != 200:
        raise AssertionError(answer.text)
    answer.json()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=15)
    ask.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "fivefold-asof")
    given = ask.parse_args()
    prepare.flights_tables(given.data)
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="fivefold-lookup-") as folder:
        root = Path(folder)
        make_project(root / "project", given.data)
        rows = entities(given.data)
        values = history(given.data, rows)
        with open_workspace(root / "project") as w:
            store = w.online()
            service = FeatureService(w, store, AT)
            lookup = service.lookup(
                [*(f"weather.{c}" for c in prepare.WEATHER), *(f"tail.{c}" for c in prepare.TAIL)]
            )
            found: list[Any] = lookup.vectors(store, rows, AT)
            if [v.values for v in found] != values:
                raise AssertionError("the look-up and the as-of join differ")
            feast = Feast(given.data, rows, root) if FEAST.exists() else None
            with bare(root / "bare", rows, values) as limit:
                result = in_process(lookup, store, rows, limit, feast, given.rounds)
            if feast is not None:
                feast.close()
            named = ["count_3h", "sum_a_6h", "mean_b_12h", "max_c_1d", "std_a_2d"]
            windows = service.lookup([f"windows.{n}" for n in named])
            asked = [[{"place": i % 100}] for i in range(50)]
            took = [timed(lambda each: windows.vectors(store, each, AT), asked) for _ in range(5 * given.rounds)]
            many = [[{"place": i} for i in range(100)]] * 3
            took_many = [timed(lambda each: windows.vectors(store, each, AT), many) for _ in range(given.rounds)]
            store.close()
        over_wire = served(root / "project", rows, given.rounds)
    answer = {
        "command": f"python benchmarks/features/lookup.py --rounds {given.rounds}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_before": load,
        "load_average_after": os.getloadavg(),
        "versions": {p: importlib.metadata.version(p) for p in ("lmdb", "msgspec", "numpy", "grpcio", "httpx")},
        "entities": len(rows),
        "values_compared_with_history": sum(map(len, values)),
        "in_process": result,
        "five_windows_us": {
            "1": statistics.median(took),
            "1_least": min(took),
            "100": statistics.median(took_many),
        },
        "served": over_wire,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(answer, indent=1) + "\n")
    print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
