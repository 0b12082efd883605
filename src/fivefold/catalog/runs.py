"""Runs: started, logged to, finished, or found dead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.run_log import Entry, RunLog, points_of
from fivefold.catalog.run_rows import (
    FAILED,
    FINISHED,
    KILLED,
    NO_METRICS,
    RUNNING,
    Metric,
    Run,
    checked_labels,
    from_row,
    select_runs,
)
from fivefold.catalog.tables import labels, runs
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.time import DAY

__all__ = ["Metric", "Run", "Runs"]

MOST_METRICS = 10_000
LEASE = DAY


class Runs:
    """The runs of a project."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._log = RunLog(database)

    def create(
        self,
        id: str,
        kind: str,
        name: str,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        started_at: int | None = None,
        lease_us: int = LEASE,
        actor: str = "",
    ) -> Run:
        """Starts a run under an id of the caller's choice; the same id, kind and name again return the run.

        A run whose lease is neither renewed nor finished in `lease_us` counts as killed. Raises Conflict when the id is
        another run's.
        """
        for value, where in ((id, "run id"), (kind, "run kind"), (name, "run name")):
            bounds.name(value, where)
        given = Entry((), checked_labels(dict(params or {}), "param"), checked_labels(dict(tags or {}), "tag"))
        with self._db.write("run", id) as conn:
            found = self._find(conn, id)
            if found is not None:
                if (found.kind, found.name) != (kind, name):
                    raise Conflict(
                        f"run {id!r} is {found.kind} {found.name!r}, not {kind} {name!r}.",
                        hint="Use a fresh id for each run.",
                    )
                return found
            at = self._db.clock()
            started = at if started_at is None else started_at
            conn.execute(
                sa.insert(runs),
                {
                    "project": self._db.project,
                    "id": id,
                    "kind": kind,
                    "name": name,
                    "status": RUNNING,
                    "error": "",
                    "actor": actor,
                    "started_at": started,
                    "lease_until": at + lease_us,
                    "points": 0,
                    "params": "{}",
                    "tags": "{}",
                    "metrics": NO_METRICS,
                },
            )
            if given.params or given.tags:
                self._log.append(conn, id, given, "")
            record(conn, self._db.project, at, actor, "create", f"run/{id}", None, RUNNING)
            made = self._find(conn, id)
        assert made is not None
        return made

    def log(
        self,
        id: str,
        *,
        metrics: Iterable[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        key: str = "",
    ) -> None:
        """Adds metrics, params and tags, all or none; once only for a given idempotency `key`.

        A metric's latest value is that of its greatest (step, time), the last logged among equals. Logging to a run
        that has ended is allowed: an evaluation may come later. Raises NotFound for the run, Conflict when a param has
        another value already or the key was used for something else, Invalid above 10,000 metrics a call.
        """
        points = points_of(metrics)
        if len(points) > MOST_METRICS:
            raise Invalid(
                f"{len(points)} metrics in one call are too many (at most {MOST_METRICS}).",
                hint="Log them in several calls.",
            )
        entry = Entry(points, checked_labels(dict(params or {}), "param"), checked_labels(dict(tags or {}), "tag"))
        if key:
            bounds.name(key, "idempotency key")
        with self._db.write("run", id) as conn:
            self._log.append(conn, id, entry, key)

    def remove_tag(self, id: str, key: str) -> None:
        """Takes a tag away; a tag that is not there is fine. Raises NotFound for the run."""
        with self._db.write("run", id) as conn:
            held = self._log.read(conn, id)
            if key in held.tags:
                kept = {name: value for name, value in held.tags.items() if name != key}
                self._log.write(conn, id, held._replace(tags=kept))
                conn.execute(
                    sa.delete(labels).where(
                        labels.c.project == self._db.project,
                        labels.c.space == "tags",
                        labels.c.key == key,
                        labels.c.run_id == id,
                    )
                )

    def renew(self, id: str, *, lease_us: int = LEASE) -> Run:
        """A sign of life: the lease runs anew, and a run given up as killed runs again.

        Raises Conflict when it has finished or failed, NotFound when there is none.
        """
        with self._db.write("run", id, durable=False) as conn:
            found = self._get(conn, id)
            if found.status in (FINISHED, FAILED):
                raise Conflict(f"run {id!r} is {found.status} already.", hint="Start another run.")
            self._update(conn, id, status=RUNNING, ended_at=None, lease_until=self._db.clock() + lease_us)
            return self._get(conn, id)

    def finish(
        self, id: str, *, status: str = FINISHED, error: str = "", ended_at: int | None = None, actor: str = ""
    ) -> Run:
        """Ends a run as finished, failed or killed; the same again does nothing.

        Raises Conflict when it ended otherwise before (one given up as killed may still finish), NotFound, Invalid.
        """
        if status not in (FINISHED, FAILED, KILLED):
            raise Invalid(f"status: {status!r} is not how a run ends (accepted: {FINISHED}, {FAILED}, {KILLED}).")
        bounds.text(error, "error", bounds.JSON)
        with self._db.write("run", id) as conn:
            found = self._get(conn, id)
            if found.ended_at is not None and found.status == status:
                return found
            if found.status in (FINISHED, FAILED):
                raise Conflict(f"run {id!r} is {found.status} already, it cannot become {status}.")
            at = self._db.clock()
            self._update(conn, id, status=status, error=error, ended_at=at if ended_at is None else ended_at)
            record(conn, self._db.project, at, actor, "finish", f"run/{id}", found.status, status)
            return self._get(conn, id)

    def mark_killed(self) -> tuple[str, ...]:
        """Writes down as killed every run whose lease is over, ended when the lease did; gives their ids."""
        with self._db.write("runs") as conn:
            at = self._db.clock()
            found = (
                conn.execute(
                    sa.update(runs)
                    .values(status=KILLED, ended_at=runs.c.lease_until)
                    .where(runs.c.project == self._db.project, runs.c.status == RUNNING, runs.c.lease_until <= at)
                    .returning(runs.c.id)
                )
                .scalars()
                .all()
            )
            for id in found:
                record(conn, self._db.project, at, "", "finish", f"run/{id}", RUNNING, KILLED, "the lease was over")
        return tuple(sorted(found))

    def delete(self, id: str, *, actor: str = "") -> None:
        """Hides a run from searches; `restore` brings it back. Raises NotFound."""
        self._set_deleted(id, self._db.clock(), actor, "delete")

    def restore(self, id: str, *, actor: str = "") -> None:
        """Brings a deleted run back. Raises NotFound."""
        self._set_deleted(id, None, actor, "restore")

    def get(self, id: str) -> Run:
        """A run, deleted or not; raises NotFound."""
        with self._db.read() as conn:
            return self._get(conn, id)

    def _set_deleted(self, id: str, at: int | None, actor: str, action: str) -> None:
        with self._db.write("run", id) as conn:
            if (self._get(conn, id).deleted_at is None) != (at is None):
                self._update(conn, id, deleted_at=at)
                record(conn, self._db.project, self._db.clock(), actor, action, f"run/{id}")

    def _get(self, conn: sa.Connection, id: str) -> Run:
        found = self._find(conn, id)
        if found is None:
            raise NotFound(f"no run {id!r} in the project {self._db.project!r}.")
        return found

    def _find(self, conn: sa.Connection, id: str) -> Run | None:
        row = conn.execute(
            select_runs(self._db.clock()).where(runs.c.project == self._db.project, runs.c.id == id)
        ).first()
        return from_row(row) if row else None

    def _update(self, conn: sa.Connection, id: str, **values: Any) -> None:
        conn.execute(sa.update(runs).values(values).where(runs.c.project == self._db.project, runs.c.id == id))
