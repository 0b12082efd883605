"""Feast's get_online_features on the tables of `asof/prepare.py`; runs in the peer's own environment.

Usage: feast_online.py FOLDER MOMENT KEYS. Materialises into SQLite up to MOMENT, prints `{"materialize_s": …}`, then
for each line `ENTITIES CALLS` on its input the seconds of so many calls, without imports and set-up, as JSON.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
os.environ["FEAST_USAGE"] = "False"

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # noqa: E402
from feast.types import Float32  # noqa: E402

folder, moment, keys_file = sys.argv[1:4]
VIEWS = {
    "weather": ("origin", "fv_weather", 3, ["temp", "wind_speed", "precip", "visib", "pressure"]),
    "tail": ("tailnum", "fv_tail", 30 * 24, ["last_dep_delay", "last_arr_delay", "last_distance"]),
}
with open(keys_file) as f:
    keys = json.load(f)

with tempfile.TemporaryDirectory() as repo:
    store = FeatureStore(
        config=RepoConfig(
            project="p",
            provider="local",
            registry=f"{repo}/r.db",
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": f"{repo}/o.db"},
            entity_key_serialization_version=3,
        )
    )
    for name, (key, file, hours, columns) in VIEWS.items():
        entity = Entity(name=key, join_keys=[key], value_type=ValueType.STRING)
        view = FeatureView(
            name=name,
            entities=[entity],
            ttl=dt.timedelta(hours=hours),
            schema=[Field(name=c, dtype=Float32) for c in columns],
            source=FileSource(path=f"{folder}/{file}.parquet", timestamp_field="ts"),
        )
        store.apply([entity, view])
    wanted = [f"{name}:{c}" for name, (_, _, _, columns) in VIEWS.items() for c in columns]
    until = dt.datetime.fromisoformat(moment)
    started = time.perf_counter()
    # what its progress bars print must not be taken for an answer
    out, sys.stdout = sys.stdout, sys.stderr
    store.materialize(dt.datetime(2013, 1, 1, tzinfo=dt.timezone.utc), until)  # noqa: UP017
    print(json.dumps({"materialize_s": time.perf_counter() - started}), file=out, flush=True)
    for line in sys.stdin:
        entities, calls = map(int, line.split())
        asked = [
            [keys[(i * entities + n) % len(keys)] for n in range(entities)]
            for i in range(calls)
        ]
        started = time.perf_counter()
        for rows in asked:
            found = store.get_online_features(features=wanted, entity_rows=rows).to_dict()
        seconds = time.perf_counter() - started
        there = sum(v is not None for name, values in found.items() if name not in keys[0] for v in values)
        print(json.dumps({"seconds": seconds, "there": there}), file=out, flush=True)
