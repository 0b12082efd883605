"""Logged predictions as Parquet, one file an endpoint and day of a segment: how they are written, and read again.

Whole numbers, floats, booleans and texts stand side by side among the values of features, so each is kept as JSON, to
the last bit, and beside it as a float64 where it is a number.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fivefold.core.time import DAY, iso
from fivefold.features.lookup import Seen

ROW_GROUP = 4096
CHUNK = 1 << 15
"""So many bytes of lines are turned into columns at once: less than a millisecond of work."""

NO_ENDPOINT = "_"
"""The folder of what no endpoint answered."""

_TIME = pa.timestamp("us")
_FEATURE = pa.struct([("value", pa.string()), ("number", pa.float64()), ("event_time", _TIME), ("status", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("served_at", _TIME),
        ("endpoint", pa.string()),
        ("model", pa.string()),
        ("version", pa.int64()),
        ("key", pa.string()),
        ("as_of", _TIME),
        ("latency_us", pa.int64()),
        ("prediction", pa.float64()),
        ("probabilities", pa.map_(pa.string(), pa.float64())),
        ("row", pa.string()),
        ("features", pa.map_(pa.string(), _FEATURE)),
        ("seen", pa.string()),
        ("steps", pa.string()),
    ]
)
"""Times are microseconds UTC; `row`, `seen`, `steps` and `value` of a feature are JSON. AT is a word of SQL."""

_NULL = b"null"
_NUMBER = r"^-?[0-9]"
_TEXTS = ("id", "endpoint", "model", "key")


class StepsUsed(msgspec.Struct, frozen=True):
    """How several steps answered: the digest under which they are kept, the version of each model, the last step."""

    graph: str
    versions: dict[str, int]
    last: str


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer. Times are microseconds UTC; `features` holds (value, event time, status) by name.

    Of an endpoint with steps, `steps` says which; its features are called `MODEL.FEATURE`, its views `MODEL.VIEW`, and
    what a step made is a feature of the step's name. The features are as of `as_of`, made of the rows that `seen` says
    by feature view. A look-up of features has no model, and 0 for a version: its features are those of the project file
    as it was applied then.
    """

    id: str
    at: int
    endpoint: str
    model: str
    version: int
    key: str
    row: dict[str, Any]
    features: dict[str, tuple[Any, int | None, str]]
    as_of: int
    seen: dict[str, Seen]
    prediction: Any
    latency_us: int
    steps: StepsUsed | None = None

    @property
    def versions(self) -> dict[str, int]:
        """By model, the version that was asked."""
        return {self.model: self.version} if self.steps is None else self.steps.versions


class _Line(msgspec.Struct, frozen=True, gc=False):
    """A prediction of which is decoded only what becomes a column."""

    id: str
    at: int
    endpoint: str
    model: str
    version: int
    key: str
    row: msgspec.Raw
    features: dict[str, tuple[msgspec.Raw, int | None, str]]
    as_of: int
    seen: msgspec.Raw
    prediction: float | bool | str | dict[str, float | None] | None
    latency_us: int
    steps: msgspec.Raw = msgspec.Raw(_NULL)


class FileName(NamedTuple):
    """The moments of the first and the last prediction of a file (µs UTC), and the segment it was made of."""

    first: int
    last: int
    segment: str

    @classmethod
    def of(cls, path: Path) -> FileName:
        """What a file's name says."""
        first, last, segment = path.stem.split("-", 2)
        return cls(int(first), int(last), segment)

    def __str__(self) -> str:
        return f"{self.first:020}-{self.last:020}-{self.segment}.parquet"


def day_of(at: int) -> str:
    """The folder of a day, in UTC: `2026-02-25`."""
    return iso(at // DAY * DAY)[:10]


def write_files(chunks: Iterable[list[bytes]], folder: Path, segment: str) -> Generator[None]:
    """Write the lines of a segment as files below a folder; it waits at each chunk for the next.

    The same lines make the same files under the same names, so that doing it again after a crash changes nothing. All
    are on the disk before the first gets its name. Raises OSError; the files that have names by then are whole.
    """
    parts: dict[tuple[str, str], _Part] = {}
    try:
        for chunk in chunks:
            for place, lines in _by_place(chunk).items():
                if place not in parts:
                    parts[place] = _Part(folder / f".{segment}.{place[0]}.{place[1]}.tmp")
                parts[place].add(lines)
            yield
        for part in parts.values():
            part.finish()
            yield
        for (endpoint, day), part in parts.items():
            target = folder / endpoint / day
            target.mkdir(parents=True, exist_ok=True)
            os.replace(part.path, target / str(FileName(part.first, part.last, segment)))
            sync_folder(target)
    finally:
        for part in parts.values():
            part.drop()


def sync_folder(folder: Path) -> None:
    """Names that were given or taken in a folder survive a loss of power."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class _Part:
    """A file that grows by row groups."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first, self.last = 2**63 - 1, 0
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, lines: list[_Line]) -> None:
        self.first = min(self.first, *(line.at for line in lines))
        self.last = max(self.last, *(line.at for line in lines))
        self._held.append(_batch(lines))
        self._rows += len(lines)
        if self._rows >= ROW_GROUP:
            self._write()

    def _write(self) -> None:
        if self._held:
            self._writer.write_table(_with_numbers(pa.Table.from_batches(self._held)), row_group_size=2 * ROW_GROUP)
            self._held, self._rows = [], 0

    def finish(self) -> None:
        self._write()
        self._writer.close()
        with self.path.open("rb") as f:
            os.fsync(f.fileno())

    def drop(self) -> None:
        with contextlib.suppress(OSError):  # it is thrown away
            self._writer.close()
        self.path.unlink(missing_ok=True)


_decode_line = msgspec.json.Decoder(_Line).decode


def _by_place(chunk: list[bytes]) -> dict[tuple[str, str], list[_Line]]:
    """The lines that are whole, by endpoint and day."""
    found: dict[tuple[str, str], list[_Line]] = {}
    for raw in chunk:
        try:
            line = _decode_line(raw)
        except ValueError:
            continue
        found.setdefault((line.endpoint or NO_ENDPOINT, day_of(line.at)), []).append(line)
    return found


def _batch(lines: list[_Line]) -> pa.RecordBatch:
    """Lines in columns, as yet without the numbers of the features."""
    names: list[str] = []
    values: list[bytes | None] = []
    times: list[int | None] = []
    statuses: list[str] = []
    offsets = [0]
    for line in lines:
        names += line.features
        for value, time, status in line.features.values():
            raw = bytes(value)
            values.append(None if raw == _NULL else raw)
            times.append(time)
            statuses.append(status)
        offsets.append(len(names))
    items = pa.StructArray.from_arrays(
        [
            pa.array(values, pa.string()),
            pa.nulls(len(values), pa.float64()),
            pa.array(times, _TIME),
            pa.array(statuses),
        ],
        fields=list(_FEATURE),
    )
    columns: dict[str, pa.Array] = {
        name: pa.array([getattr(line, name) for line in lines], SCHEMA.field(name).type)
        for name in (*_TEXTS, "version", "as_of", "latency_us")
    }
    columns["served_at"] = pa.array([line.at for line in lines], _TIME)
    columns["row"] = pa.array([bytes(line.row) for line in lines], pa.string())
    columns["seen"] = pa.array([bytes(line.seen) for line in lines], pa.string())
    said = [line.prediction for line in lines]
    # another answer than a number is the value of the last step, which is among the features
    columns["prediction"] = pa.array([float(s) if type(s) in (int, float) else None for s in said], pa.float64())  # type: ignore[arg-type]
    columns["steps"] = pa.array([None if (raw := bytes(line.steps)) == _NULL else raw for line in lines], pa.string())
    columns["probabilities"] = pa.array(
        [list(s.items()) if isinstance(s, dict) else None for s in said], SCHEMA.field("probabilities").type
    )
    columns["features"] = pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(names, pa.string()), items)
    return pa.RecordBatch.from_arrays([columns[n] for n in SCHEMA.names], schema=SCHEMA)


def _with_numbers(table: pa.Table) -> pa.Table:
    """With those values of features as numbers that are some."""
    features = table["features"].combine_chunks()
    items = features.items
    values = items.field("value")
    numbers = pc.if_else(pc.match_substring_regex(values, _NUMBER), values, None).cast(pa.float64())
    parts = [values, numbers, items.field("event_time"), items.field("status")]
    made = pa.MapArray.from_arrays(
        features.offsets, features.keys, pa.StructArray.from_arrays(parts, fields=list(_FEATURE))
    )
    return table.set_column(SCHEMA.get_field_index("features"), SCHEMA.field("features"), made)


def predictions_of(table: pa.Table) -> list[Prediction]:
    """The rows of a table as they were logged, in its order."""
    features = table["features"].combine_chunks()
    offsets, names, items = features.offsets.to_pylist(), features.keys.to_pylist(), features.items
    values = _texts(items.field("value"))
    times, statuses = items.field("event_time").cast(pa.int64()).to_pylist(), items.field("status").to_pylist()
    triples = list(zip(values, times, statuses, strict=True))
    rows, seen = _texts(table["row"]), _texts(table["seen"])
    said = [
        p if c is None else dict(c)
        for p, c in zip(table["prediction"].to_pylist(), table["probabilities"].to_pylist(), strict=True)
    ]
    at, as_of = (table[name].cast(pa.int64()).to_pylist() for name in ("served_at", "as_of"))
    # files of an earlier day have no such column
    steps = _texts(table["steps"]) if "steps" in table.column_names else [None] * len(table)
    used = [None if s is None else msgspec.convert(s, StepsUsed) for s in steps]
    plain = {name: table[name].to_pylist() for name in (*_TEXTS, "version", "latency_us")}
    return [
        Prediction(
            at=at[i],
            as_of=as_of[i],
            row=rows[i],
            features=dict(zip(names[start:stop], triples[start:stop], strict=True)),
            seen=msgspec.convert(seen[i], dict[str, Seen], str_keys=True),
            prediction=said[i]
            if said[i] is not None or (by := used[i]) is None
            else triples[start + names[start:stop].index(by.last)][0],
            steps=used[i],
            **{name: column[i] for name, column in plain.items()},
        )
        for i, (start, stop) in enumerate(pairwise(offsets))
    ]


def _texts(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """What a column of JSON says, decoded at once."""
    found: list[Any] = msgspec.json.decode("[" + ",".join("null" if t is None else t for t in column.to_pylist()) + "]")
    return found


def backwards(path: Path) -> Iterator[Prediction]:
    """The predictions of a file from its end, a row group at a time."""
    with pq.ParquetFile(path) as file:
        for n in reversed(range(file.num_row_groups)):
            yield from reversed(predictions_of(file.read_row_group(n)))


def one_of(path: Path, id: str) -> Prediction | None:
    """The prediction of an id, if the file holds it."""
    found = pq.read_table(path, filters=[("id", "==", id)], partitioning=None)
    return predictions_of(found)[0] if len(found) else None
