"""Look-ups of 1 and of 100 entities with two views, in process, against bare LMDB gets with MessagePack.

    python benchmarks/features/lookup.py [--rounds 21] [--out benchmarks/results/lookup.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import lmdb
import msgspec
import numpy as np
import pyarrow as pa

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.types import Type
from fivefold.features.lookup import Lookup
from fivefold.features.materialise import materialise
from fivefold.ports.online import OnlineStore

WEATHER = ["temp", "wind_speed", "precip", "visib", "pressure"]
PLANE = ["dep_delay", "arr_delay", "distance"]
ORIGINS = ["EWR", "JFK", "LGA"]
T = 1_700_000_000_000_000


class Features(NamedTuple):
    """Features that are looked up without a model."""

    ref: str
    features: tuple[Any, ...]


def rows(key: str, keys: list[str], columns: list[str], each: int) -> pa.Table:
    chance = np.random.default_rng(7)
    count = len(keys) * each
    times = T - chance.integers(1, 10**9, count)
    return pa.table({key: keys * each, "ts": pa.array(times, pa.int64()).cast(pa.timestamp("us")),
                     **{c: chance.normal(size=count) for c in columns}})


def prepared(folder: Path) -> tuple[Callable[[int, int], object], Callable[[int, int], object]]:
    """Ours and the limit: functions of the number of entities and of where to begin among them."""
    tails = [f"N{n:05}" for n in range(4000)]
    weather = ff.Table("w", "w.parquet", time="ts")
    plane = ff.Table("p", "p.parquet", time="ts")
    views = (
        ff.FeatureView("weather", ff.Entity("airport", key="origin"), weather, [ff.last(c) for c in WEATHER], ttl="3h"),
        ff.FeatureView("plane", ff.Entity("plane", key="tailnum"), plane, [ff.last(c) for c in PLANE], ttl="30d"))
    schemas = {"w": {"origin": Type.STRING, "ts": Type.TIMESTAMP, **dict.fromkeys(WEATHER, Type.FLOAT64)},
               "p": {"tailnum": Type.STRING, "ts": Type.TIMESTAMP, **dict.fromkeys(PLANE, Type.FLOAT64)}}
    store = connect(OnlineStore, f"lmdb:{folder}/ours")
    with duckdb.connect() as connection:
        connection.register("w", rows("origin", ORIGINS, WEATHER, 50))
        connection.register("p", rows("tailnum", tails, PLANE, 5))
        for view in views:
            materialise(connection, store, f"{view.name}@1", view, at=T, meaning="m", snapshot="s", schemas=schemas,
                        scales={}, relation=lambda name: name)
    lookup = Lookup(Features("benchmark", views), schemas, {}, lambda v: f"{v.name}@1")
    bare = lmdb.open(f"{folder}/bare", map_size=1 << 28)
    encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode
    with bare.begin(write=True) as transaction:
        for name in ORIGINS:
            transaction.put(b"w:" + name.encode(), encode([0.5] * len(WEATHER)))
        for name in tails:
            transaction.put(b"t:" + name.encode(), encode([0.5] * len(PLANE)))

    def ours(count: int, start: int) -> object:
        asked = [{"origin": ORIGINS[k % 3], "tailnum": tails[k % 4000]} for k in range(start, start + count)]
        return lookup.vectors(store, asked, T)

    def limit(count: int, start: int) -> object:
        asked = [(ORIGINS[k % 3], tails[k % 4000]) for k in range(start, start + count)]
        with bare.begin(buffers=True) as transaction:
            return [decode(transaction.get(b"w:" + a.encode())) + decode(transaction.get(b"t:" + b.encode()))
                    for a, b in asked]

    return ours, limit


def measured(work: Callable[[int, int], object], count: int, calls: int) -> float:
    """Microseconds a call."""
    began = time.perf_counter()
    for n in range(calls):
        work(count, n * count)
    return (time.perf_counter() - began) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours, limit = prepared(Path(folder))
        found: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "load_average": os.getloadavg()[0]}
        for count, calls in ((1, 2000), (100, 60)):
            pairs = [(measured(ours, count, calls), measured(limit, count, calls)) for _ in range(options.rounds)]
            found[f"{count} entities"] = {
                "ours_us": round(statistics.median(a for a, _ in pairs), 2),
                "limit_us": round(statistics.median(b for _, b in pairs), 2),
                "ours / limit": round(statistics.median(a / b for a, b in pairs), 2),
            }
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
