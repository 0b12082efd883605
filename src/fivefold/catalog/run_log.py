"""Appending to a run: the points, the latest values, params and tags, in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.prepared import Prepared
from fivefold.catalog.run_rows import Latest, Metric, pack
from fivefold.catalog.tables import deliveries, labels, latest_metrics, points, runs
from fivefold.core.errors import Conflict, Invalid, NotFound

MOST_KEYS = 20_000
_MOST = 2**63
_unpack = msgspec.msgpack.Decoder(dict[str, Latest]).decode
_strings = msgspec.json.Decoder(dict[str, str]).decode


class Entry(NamedTuple):
    """What one call adds."""

    metrics: tuple[Metric, ...]
    params: dict[str, str]
    tags: dict[str, str]


class Held(NamedTuple):
    """What the run's row holds before."""

    points: int
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, Latest]


def points_of(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """The metrics, checked: bounded keys, steps and times of 64 bits; raises Invalid."""
    given = tuple(metrics)
    for key in {metric.key for metric in given}:
        bounds.name(key, "metric")
    for metric in given:
        if (
            not isinstance(metric.value, float | int)
            or not -_MOST <= metric.step < _MOST
            or (metric.time is not None and not -_MOST <= metric.time < _MOST)
        ):
            raise Invalid(
                f"metric {metric.key!r}: value {metric.value!r} at step {metric.step!r}, time "
                f"{metric.time!r} is not accepted (a number; step and time of 64 bits)."
            )
    return given


class RunLog:
    """Writes to the runs of a database; every method is part of the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database
        engine, bind = database.engine, sa.bindparam
        self._add_point = Prepared(engine, sa.insert(points))
        upsert = database.insert(latest_metrics)
        self._set_latest = Prepared(
            engine,
            upsert.on_conflict_do_update(
                index_elements=["project", "key", "run_id"], set_={"value": upsert.excluded.value}
            ),
        )
        upsert = database.insert(labels)
        self._set_label = Prepared(
            engine,
            upsert.on_conflict_do_update(
                index_elements=["project", "space", "key", "run_id"], set_={"value": upsert.excluded.value}
            ),
        )
        mine = sa.and_(runs.c.project == bind("of_project"), runs.c.id == bind("of_id"))
        self._read = Prepared(engine, sa.select(runs.c.points, runs.c.params, runs.c.tags, runs.c.metrics).where(mine))
        self._update = Prepared(
            engine,
            sa.update(runs)
            .where(mine)
            .values(
                points=bind("to_points"), params=bind("to_params"), tags=bind("to_tags"), metrics=bind("to_metrics")
            ),
        )

    def read(self, conn: sa.Connection, id: str) -> Held:
        """What a run holds; raises NotFound."""
        row: Any = self._read.run(conn, of_project=self._db.project, of_id=id).first()
        if row is None:
            raise NotFound(f"no run {id!r} in the project {self._db.project!r}.", hint="Create it, then log to it.")
        return Held(row[0], _strings(row[1]), _strings(row[2]), _unpack(row[3]))

    def append(self, conn: sa.Connection, id: str, entry: Entry, key: str) -> None:
        """Adds `entry` to the run `id` unless `key` was delivered before.

        Raises NotFound, Conflict and Invalid as `Runs.log` says.
        """
        held = self.read(conn, id)
        if key and not self._first_delivery(conn, id, entry, key):
            return
        for param, value in entry.params.items():
            if held.params.get(param, value) != value:
                raise Conflict(
                    f"run {id!r}: param {param!r} is {held.params[param]!r} already, not {value!r}.",
                    hint="A param never changes: log a tag, or start another run.",
                )
        at = self._db.clock()
        latest = _newer(held.metrics, entry.metrics, at)
        if len(held.metrics) + len(latest) > MOST_KEYS and len(held.metrics | latest) > MOST_KEYS:
            raise Invalid(f"run {id!r} would have more than {MOST_KEYS} different metrics.")
        self._add_point.many(
            conn,
            [
                {
                    "project": self._db.project,
                    "run_id": id,
                    "key": m.key,
                    "number": held.points + i,
                    "value": _finite(m.value),
                    "step": m.step,
                    "time": at if m.time is None else m.time,
                    "lower": m.lower,
                    "upper": m.upper,
                }
                for i, m in enumerate(entry.metrics)
            ],
        )
        self._set_latest.many(
            conn,
            [
                {"project": self._db.project, "key": key, "run_id": id, "value": _finite(last.value)}
                for key, last in latest.items()
            ],
        )
        for space, old, new in (("params", held.params, entry.params), ("tags", held.tags, entry.tags)):
            self._set_label.many(
                conn,
                [
                    {"project": self._db.project, "space": space, "key": key, "run_id": id, "value": value}
                    for key, value in new.items()
                    if old.get(key) != value
                ],
            )
        self.write(
            conn,
            id,
            Held(
                held.points + len(entry.metrics),
                held.params | entry.params,
                held.tags | entry.tags,
                held.metrics | latest,
            ),
        )

    def write(self, conn: sa.Connection, id: str, held: Held) -> None:
        """Sets what a run holds."""
        self._update.run(
            conn,
            of_project=self._db.project,
            of_id=id,
            to_points=held.points,
            to_metrics=pack(held.metrics),
            to_params=bounds.document(held.params, f"params of run {id!r}"),
            to_tags=bounds.document(held.tags, f"tags of run {id!r}"),
        )

    def _first_delivery(self, conn: sa.Connection, id: str, entry: Entry, key: str) -> bool:
        digest = hashlib.sha256(msgspec.msgpack.encode(entry)).hexdigest()
        held = conn.execute(
            sa.select(deliveries.c.digest).where(
                deliveries.c.project == self._db.project, deliveries.c.run_id == id, deliveries.c.key == key
            )
        ).scalar()
        if held is None:
            conn.execute(
                sa.insert(deliveries),
                {
                    "project": self._db.project,
                    "run_id": id,
                    "key": key,
                    "digest": digest,
                    "received_at": self._db.clock(),
                },
            )
        elif held != digest:
            raise Conflict(
                f"run {id!r}: the idempotency key {key!r} was used for other values before.",
                hint="Use a fresh key for each call, and the same one only to repeat it.",
            )
        return held is None


def _finite(value: float) -> float | None:
    # SQLite turns NaN into NULL: do so on both, `history` turns it back
    return None if value != value else float(value)


def _newer(held: dict[str, Latest], metrics: tuple[Metric, ...], at: int) -> dict[str, Latest]:
    """The latest values that `metrics` change."""
    latest: dict[str, Latest] = {}
    for metric in metrics:
        time = at if metric.time is None else metric.time
        last = latest.get(metric.key) or held.get(metric.key)
        if last is None or (last.step, last.time) <= (metric.step, time):
            latest[metric.key] = Latest(float(metric.value), metric.step, time, metric.lower, metric.upper)
    return latest
