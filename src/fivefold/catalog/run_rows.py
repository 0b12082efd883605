"""Runs as rows: what is stored of one, and how its documents are written and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.tables import runs

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"
STATUSES = (RUNNING, FINISHED, FAILED, KILLED)


class Metric(msgspec.Struct, frozen=True):
    """One measured value; `time` in microseconds UTC (None: when it is logged), `lower` and `upper` of an interval."""

    key: str
    value: float
    step: int = 0
    time: int | None = None
    lower: float | None = None
    upper: float | None = None


# gc=False: a list of 30,000 runs holds millions of these, none of which can be part of a cycle
class Latest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The value of a metric at its last step."""

    value: float
    step: int
    time: int
    lower: float | None = None
    upper: float | None = None


class Run(msgspec.Struct, frozen=True):
    """One run: what went in (params, tags), what came out (the latest value of each metric), and how it ended."""

    id: str
    kind: str
    name: str
    status: str
    error: str
    actor: str
    started_at: int
    ended_at: int | None
    lease_until: int
    deleted_at: int | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, Latest]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, Latest]).decode
_unpack_raw = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_latest = msgspec.msgpack.Decoder(Latest).decode
_strings = msgspec.json.Decoder(dict[str, str]).decode
NO_METRICS = _pack({})
COLUMNS = tuple(runs.c[field] for field in Run.__struct_fields__)


def pack(metrics: dict[str, Latest]) -> bytes:
    """MessagePack and not JSON: it holds NaN and infinities, and decodes a hundred metrics in microseconds."""
    return _pack(metrics)


def status_at(now: int) -> sa.ColumnElement[str]:
    """The status a run has at `now`: one whose lease is over is killed, whether or not that was written down."""
    return sa.case((sa.and_(runs.c.status == RUNNING, runs.c.lease_until <= now), KILLED), else_=runs.c.status)


def select_runs(now: int, *, metrics: bool = True) -> sa.Select[Any]:
    """SELECT of the columns `from_row` reads; without `metrics` their document is not read from disk."""
    columns: Sequence[Any] = [
        status_at(now).label("status")
        if column is runs.c.status
        else sa.null().label("metrics")
        if column is runs.c.metrics and not metrics
        else column
        for column in COLUMNS
    ]
    return sa.select(*columns)


def from_row(row: Sequence[Any], wanted: frozenset[str] | None = None) -> Run:
    """A Run from the columns of `select_runs`; of `wanted`, when given, only these metrics."""
    if row[-1] is None:
        found = {}
    elif wanted is None:
        found = _unpack(row[-1])
    else:
        # what is not wanted is skipped over, not decoded
        found = {key: _latest(raw) for key, raw in _unpack_raw(row[-1]).items() if key in wanted}
    fields: Any = (*row[:-3], _strings(row[-3]), _strings(row[-2]), found)
    return Run(*fields)


def checked_labels(given: dict[str, str], where: str) -> dict[str, str]:
    """Params or tags with bounded keys and values; raises Invalid."""
    for key, value in given.items():
        bounds.text(value, f"{where} {bounds.name(key, where)!r}")
    return given
