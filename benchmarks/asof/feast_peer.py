"""Feast's get_historical_features on the tables of `prepare.py`; runs in the peer's own environment.

Usage: feast_peer.py FOLDER OUT. Prints the seconds of the call alone as JSON; OUT gets the joined Parquet.
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

import pandas as pd  # noqa: E402
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # noqa: E402
from feast.types import Float32  # noqa: E402

folder, out = sys.argv[1:3]
VIEWS = {
    "weather": ("origin", "fv_weather", 3, ["temp", "wind_speed", "precip", "visib", "pressure"]),
    "tail": ("tailnum", "fv_tail", 30 * 24, ["last_dep_delay", "last_arr_delay", "last_distance"]),
}

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
        store.apply(
            [
                entity,
                FeatureView(
                    name=name,
                    entities=[entity],
                    ttl=dt.timedelta(hours=hours),
                    schema=[Field(name=c, dtype=Float32) for c in columns],
                    source=FileSource(path=f"{folder}/{file}.parquet", timestamp_field="ts"),
                ),
            ]
        )
    wanted = [f"{name}:{c}" for name, (_, _, _, columns) in VIEWS.items() for c in columns]
    started = time.perf_counter()
    joined = store.get_historical_features(
        entity_df=pd.read_parquet(f"{folder}/spine.parquet"), features=wanted
    ).to_df()
    seconds = time.perf_counter() - started
joined.to_parquet(out)
print(json.dumps({"seconds": seconds, "rows": len(joined)}))
