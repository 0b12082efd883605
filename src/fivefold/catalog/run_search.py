"""Finding runs: filters, an order by time or by a metric, pages; never a look at a metric's history."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.conditions import Condition, filters
from fivefold.catalog.database import Database
from fivefold.catalog.run_rows import Metric, Run, from_row, select_runs
from fivefold.catalog.tables import latest_metrics, points, runs
from fivefold.core.errors import Invalid

MOST_RUNS = 50_000


class Page(msgspec.Struct, frozen=True):
    """Runs in order; `next` is the page to ask for then, empty at the end."""

    runs: tuple[Run, ...]
    next: str


class _Cursor(msgspec.Struct, array_like=True):
    """Where the last page ended: among runs that have the metric ordered by, or (`missing`) those after them."""

    missing: bool
    value: float | int
    id: str


class RunSearch:
    """Searches over the runs of a project."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def runs(
        self,
        *,
        kind: str | None = None,
        name: str | None = None,
        status: str | None = None,
        tags: Mapping[str, str] | None = None,
        where: Sequence[Condition] = (),
        order: str = "started_at",
        descending: bool = True,
        metrics: Sequence[str] | None = None,
        deleted: bool = False,
        limit: int = 100,
        page: str = "",
    ) -> Page:
        """Runs that meet every condition, ordered by `started_at` or by `metrics.KEY`.

        Ordered by a metric, runs without it (or where it is NaN) come last, newest first. `metrics` names the metrics
        to read (None: all, empty: none). Raises Invalid for a wrong order, condition, limit (1 to 50,000) or page.
        """
        after = _decode(page)
        bounds.page_size(limit, MOST_RUNS)
        asked = frozenset(metrics) if metrics is not None else None
        chosen = select_runs(self._db.clock(), metrics=asked != frozenset()).where(
            runs.c.project == self._db.project,
            runs.c.deleted_at.is_not(None) if deleted else runs.c.deleted_at.is_(None),
            *filters(self._db, kind=kind, name=name, status=status, tags=tags or {}, where=where),
        )
        with self._db.read() as conn:
            if order == "started_at":
                found = _by_time(conn, chosen, descending, limit, after)
            elif order.startswith("metrics."):
                found = self._by_metric(conn, chosen, order.removeprefix("metrics."), descending, limit, after)
            else:
                raise Invalid(f"order: {order!r} is not accepted (started_at, or metrics. and a metric's name).")
        return Page(
            tuple(from_row(row[:-1], asked) for _, row in found[:limit]),
            _encode(*found[limit - 1]) if len(found) > limit else "",
        )

    def history(self, run_id: str, key: str, *, limit: int = 10_000, skip: int = 0) -> tuple[Metric, ...]:
        """Every point of one metric by (step, time), as logged; empty when there is none."""
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(points.c.value, points.c.step, points.c.time, points.c.lower, points.c.upper)
                .where(points.c.project == self._db.project, points.c.run_id == run_id, points.c.key == key)
                .order_by(points.c.step, points.c.time, points.c.number)
                .limit(bounds.page_size(limit, 1_000_000))
                .offset(skip)
            ).all()
        return tuple(Metric(key, float("nan") if row[0] is None else row[0], *row[1:]) for row in rows)

    def _by_metric(
        self, conn: sa.Connection, chosen: sa.Select[Any], key: str, descending: bool, limit: int, after: _Cursor | None
    ) -> list[tuple[bool, Any]]:
        """First along the index of the metric's values; what it lacks is read only for the pages after those."""
        latest = latest_metrics.c
        having = sa.and_(
            latest.project == runs.c.project, latest.run_id == runs.c.id, latest.key == key, latest.value.is_not(None)
        )
        found: list[tuple[bool, Any]] = []
        if after is None or not after.missing:
            with_it = _ordered(
                chosen.join_from(runs, latest_metrics, having), latest.value, latest.run_id, descending, after
            )
            found = [(False, row) for row in conn.execute(with_it.limit(limit + 1)).all()]
        if len(found) <= limit:
            without = chosen.where(~sa.exists().where(having))
            rest = _by_time(conn, without, True, limit - len(found), after if after and after.missing else None)
            found += [(True, row) for _, row in rest]
        return found


def _by_time(
    conn: sa.Connection, chosen: sa.Select[Any], descending: bool, limit: int, after: _Cursor | None
) -> list[tuple[bool, Any]]:
    ordered = _ordered(chosen, runs.c.started_at, runs.c.id, descending, after)
    return [(False, row) for row in conn.execute(ordered.limit(limit + 1)).all()]


def _ordered(
    chosen: sa.Select[Any],
    value: sa.ColumnElement[Any],
    id: sa.ColumnElement[str],
    descending: bool,
    after: _Cursor | None,
) -> sa.Select[Any]:
    """In order of (value, id), reading on after the cursor; the value is added as the last column."""
    if after is not None:
        place, last = sa.tuple_(value, id), sa.tuple_(sa.literal(after.value, value.type), sa.literal(after.id))
        chosen = chosen.where(place < last if descending else place > last)
    keys = (value.desc(), id.desc()) if descending else (value.asc(), id.asc())
    return chosen.add_columns(value.label("ordered_by")).order_by(*keys)


def _encode(missing: bool, row: Any) -> str:
    cursor = msgspec.msgpack.encode(_Cursor(missing, row[-1], row[0]))
    return base64.urlsafe_b64encode(cursor).decode().rstrip("=")


def _decode(page: str) -> _Cursor | None:
    if not page:
        return None
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(page + "=" * (-len(page) % 4)), type=_Cursor)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise Invalid(f"page: {page[:40]!r} is not one of ours.", hint="Give the `next` of the page before.") from None
