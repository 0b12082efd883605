"""As-of joins against their limits and a peer: `python benchmarks/asof/run.py [--rounds N] [--feast N] [--data DIR]`.

1. 336,776 flights × 2 views, Parquet in, Arrow out: ours, Polars `join_asof`, DuckDB ASOF, interleaved in one process,
   medians of the ratios of each round; and Feast in an environment of its own (`benchmarks/peers.sh feast`).
2. 17,000 rows × 1,000 features (50 views × 20 columns × 20,000 rows; half last values, half windows): time and peak
   memory of a fresh process.

The values of all sides are compared before anything is timed. Writes benchmarks/results/asof.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import prepare
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.time import DAY, HOUR
from fivefold.core.types import Type
from fivefold.features.asof import Aggregate, Source, as_of

HERE = Path(__file__).parent
FEAST = HERE.parent / ".peers" / "feast" / "bin" / "python"
RESULT = HERE.parent / "results" / "asof.json"
FEATURES = [*prepare.WEATHER, *prepare.TAIL]


def ours(data: Path) -> pa.Table:
    def view(file: str, key: str, columns: tuple[str, ...], ttl: int) -> Source:
        lasts = tuple(Aggregate(c, "last", c, Type.FLOAT64, over=ttl) for c in columns)
        return Source(file, f"read_parquet('{data}/{file}.parquet')", (key,), (key,), "ts", aggregates=lasts)

    return as_of(
        f"read_parquet('{data}/spine.parquet')",
        "event_timestamp",
        [view("fv_weather", "origin", prepare.WEATHER, 3 * HOUR), view("fv_tail", "tailnum", prepare.TAIL, 30 * DAY)],
    )


def by_polars(data: Path) -> pa.Table:
    """As good as it gets there: sorted lazily, joined by key with a tolerance. Its rows come back in order of time."""
    spine = pl.scan_parquet(data / "spine.parquet").sort("event_timestamp")
    for file, key, tolerance in (("fv_weather", "origin", "3h"), ("fv_tail", "tailnum", "30d")):
        spine = spine.join_asof(
            pl.scan_parquet(data / f"{file}.parquet").sort("ts"),
            left_on="event_timestamp",
            right_on="ts",
            by=key,
            tolerance=tolerance,
            check_sortedness=False,
            suffix=f"_{file}",
        )
    return spine.collect().to_arrow()


def by_duckdb(data: Path) -> pa.Table:
    def alive(view: str, columns: tuple[str, ...], ttl: str) -> str:
        return ", ".join(
            f"CASE WHEN s.event_timestamp - {view}.ts <= INTERVAL {ttl} THEN {view}.{c} END AS {c}" for c in columns
        )

    with duckdb.connect(config={"threads": os.cpu_count() or 1}) as connection:
        return connection.sql(f"""
            SELECT s.*, {alive("w", prepare.WEATHER, "3 HOUR")}, {alive("t", prepare.TAIL, "30 DAY")}
            FROM '{data}/spine.parquet' s
            ASOF LEFT JOIN '{data}/fv_weather.parquet' w ON s.origin = w.origin AND s.event_timestamp >= w.ts
            ASOF LEFT JOIN '{data}/fv_tail.parquet' t ON s.tailnum = t.tailnum AND s.event_timestamp >= t.ts
            """).to_arrow_table()


def timed(call: Callable[[Path], Any], data: Path) -> tuple[float, float]:
    """Seconds of wall and of CPU of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call(data)
    return time.perf_counter() - wall, time.process_time() - cpu


def same_values(data: Path) -> int:
    """How many values were compared: ours against Polars', flight by flight. Raises when any differs.

    Polars sees a row at the query's own time and rows exactly `tolerance` old; ours sees `[T - ttl, T)`. So the
    comparison moves the queries by 1 µs for Polars, and both windows hold the same rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        moved = Path(folder)
        for file in ("fv_weather", "fv_tail"):
            os.symlink(data / f"{file}.parquet", moved / f"{file}.parquet")
        spine = pl.read_parquet(data / "spine.parquet").with_row_index("row")
        spine.with_columns(pl.col("event_timestamp") - pl.duration(microseconds=1)).write_parquet(
            moved / "spine.parquet"
        )
        theirs = pl.from_arrow(by_polars(moved))
    assert isinstance(theirs, pl.DataFrame)
    theirs, mine = theirs.sort("row"), ours(data)
    # an hour of weather at one airport that is in the file twice (the autumn clock change) has no one last value
    weather = pl.read_parquet(data / "fv_weather.parquet")
    tied = set(weather.filter(pl.struct("origin", "ts").is_duplicated()).select("origin", "ts").unique().iter_rows())
    chosen = theirs.select("origin", "event_timestamp").with_columns(
        pl.col("event_timestamp") + pl.duration(microseconds=1)
    )
    near = np.zeros(len(theirs), bool)
    for origin, moment in tied:
        age = (chosen["event_timestamp"] - moment).dt.total_microseconds().to_numpy()
        near |= (chosen["origin"] == origin).to_numpy() & (age > 0) & (age <= 3 * HOUR)
    compared = 0
    for feature in FEATURES:
        a = mine.column(feature).to_numpy()
        b = theirs[feature].cast(pl.Float64).to_numpy()
        keep = ~near if feature in prepare.WEATHER else np.ones(len(a), bool)
        if not np.array_equal(a[keep], b[keep], equal_nan=True):
            raise AssertionError(f"{feature}: {int((~np.isclose(a, b, equal_nan=True))[keep].sum())} values differ")
        compared += int(keep.sum())
    return compared


def two_views(data: Path, rounds: int, feast_runs: int) -> dict[str, Any]:
    sides: dict[str, Callable[[Path], Any]] = {"ours": ours, "polars": by_polars, "duckdb": by_duckdb}
    compared = same_values(data)
    spine = pq.read_metadata(data / "spine.parquet").num_rows
    for name, call in sides.items():
        if len(call(data)) != spine:
            raise AssertionError(f"{name} did not keep the {spine} rows of the spine")
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    feast: list[float] = []
    for number in range(rounds):
        for name, call in sides.items():
            seconds, spent = timed(call, data)
            wall[name].append(seconds)
            cpu[name].append(spent)
        if number < feast_runs and FEAST.exists():
            feast.append(feast_seconds(data))

    def ratio(name: str, of: dict[str, list[float]]) -> float:
        return statistics.median(a / b for a, b in zip(of["ours"], of[name], strict=True))

    out: dict[str, Any] = {"values_compared_with_polars": compared, "rounds": rounds}
    out |= {f"{name}_s": statistics.median(times) for name, times in wall.items()}
    out |= {f"{name}_spread_s": [min(times), max(times)] for name, times in wall.items()}
    out |= {f"{name}_cpu_s": statistics.median(times) for name, times in cpu.items()}
    out |= {
        "ours_to_polars": ratio("polars", wall),
        "ours_to_duckdb": ratio("duckdb", wall),
        "ours_to_polars_cpu": ratio("polars", cpu),
    }
    if feast:
        out |= {"feast_s": feast, "feast_to_ours": statistics.median(feast) / out["ours_s"]}
    return out


def feast_seconds(data: Path) -> float:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        done = subprocess.run(
            [FEAST, HERE / "feast_peer.py", data, file.name], capture_output=True, text=True, check=True
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer["rows"] == pl.scan_parquet(data / "spine.parquet").select(pl.len()).collect().item()
        return float(answer["seconds"])


def wide(data: Path) -> pa.Table:
    """50 views of 20 features: ten last values, ten windows of seven functions."""
    windows = [
        ("sum", 7, None),
        ("mean", 7, None),
        ("std", 30, None),
        ("min", 7, None),
        ("max", 30, None),
        ("count", 1, None),
        ("distinct", 30, None),
        ("quantile", 30, 0.5),
        ("mean", 1, None),
        ("sum", 30, None),
    ]
    sources = []
    for view in range(50):
        features = [Aggregate(f"v{view}_c{i}", "last", f"c{i}", Type.FLOAT64) for i in range(10)]
        features += [
            Aggregate(
                f"v{view}_c{i}",
                fn,
                f"c{i}",
                Type.FLOAT64,
                over=days * DAY,
                q=q,
                scale=20 if fn in ("sum", "mean", "std") else None,
            )
            for i, (fn, days, q) in enumerate(windows, 10)
        ]
        sources.append(
            Source(
                f"view{view}",
                f"read_parquet('{data}/view{view}.parquet')",
                ("entity",),
                ("entity",),
                "ts",
                aggregates=tuple(features),
            )
        )
    return as_of(f"read_parquet('{data}/wide_spine.parquet')", "at", sources)


def wide_alone(data: Path) -> dict[str, Any]:
    """Time and peak memory in a process that does nothing else."""
    done = subprocess.run([sys.executable, __file__, "--wide", data], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peak_memory() -> int:
    """The most bytes this process held. Not ru_maxrss: after exec that still counts what the parent held."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=15)
    ask.add_argument("--feast", type=int, default=1, help="runs of Feast, if its environment is there")
    ask.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "fivefold-asof")
    ask.add_argument("--wide", type=Path, help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.wide:
        started = time.perf_counter()
        table = wide(given.wide)
        seconds = time.perf_counter() - started
        peak = peak_memory()
        print(
            json.dumps(
                {
                    "rows": table.num_rows,
                    "features": table.num_columns - 2,
                    "seconds": seconds,
                    "peak_bytes": peak,
                    "result_bytes": table.nbytes,
                }
            )
        )
        return
    rows = prepare.flights_tables(given.data)
    prepare.wide_tables(given.data)
    load = os.getloadavg()
    result = {
        "command": f"python benchmarks/asof/run.py --rounds {given.rounds} --feast {given.feast}",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average_before": load,
        "versions": {p: importlib.metadata.version(p) for p in ("numpy", "pyarrow", "duckdb", "polars")},
        "rows": rows,
        "two_views": two_views(given.data, given.rounds, given.feast),
        "wide": [wide_alone(given.data) for _ in range(3)],
    }
    result["load_average_after"] = os.getloadavg()
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
