"""The journal of durable steps: what was asked, who is at it, what came out; finished steps are never run again."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.prepared import Prepared
from fivefold.catalog.tables import steps, works
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.time import iso

OPEN, DONE, FAILED, RUNNING = "open", "done", "failed", "running"


class Claim(msgspec.Struct, frozen=True):
    """The step is yours until `lease_until`; `fence` grows with every claim, and only the greatest may finish."""

    fence: int
    lease_until: int


class Done(msgspec.Struct, frozen=True):
    """The step has finished before, with this result."""

    result: Any


class Step(msgspec.Struct, frozen=True):
    """A step as last claimed: running, done or failed; times in microseconds UTC. `fence` counts its claims."""

    work_id: str
    step: str
    status: str
    owner: str
    fence: int
    lease_until: int
    started_at: int
    finished_at: int | None
    result: Any
    error: str


class Work(msgspec.Struct, frozen=True):
    """Something done in durable steps: open, done or failed."""

    id: str
    kind: str
    key: str
    request: Any
    status: str
    error: str
    begun_at: int
    ended_at: int | None


_STEP = steps.c
_STEPS = tuple(_STEP[field] for field in Step.__struct_fields__)
_WORKS = tuple(works.c[field] for field in Work.__struct_fields__)


class Journal:
    """The journal of a project. Claims are single statements, so two workers never both get one."""

    def __init__(self, database: Database) -> None:
        self._db = database
        # prepared: these two are the whole cost of a trivial step
        self._claim = Prepared(database.engine, _claim_statement(database))
        self._end_step = Prepared(database.engine, _end_statement())

    def begin(self, work_id: str, kind: str, key: str = "", request: Json = None) -> Work:
        """Opens a work; the same again returns it as it stands. `key` is free, say the digest of its inputs.

        Raises Conflict when the id belongs to another kind, key or request.
        """
        bounds.name(work_id, "work id")
        bounds.name(kind, "kind of work")
        if key:
            bounds.name(key, "key")
        written = bounds.document(request, f"request of {work_id!r}")
        with self._db.write("work", work_id) as conn:
            insert = self._db.insert(works).values(
                project=self._db.project, id=work_id, kind=kind, key=key, request=written,
                status=OPEN, error="", begun_at=self._db.clock())
            conn.execute(insert.on_conflict_do_nothing())
            work = self._work(conn, work_id)
        if (work.kind, work.key, work.request) != (kind, key, bounds.read(written)):
            raise Conflict(f"the work {work_id!r} was begun as {work.kind!r} with another key or request.",
                           hint="Give every work an id of its own.")
        return work

    def end(self, work_id: str, status: str = DONE, error: str = "") -> Work:
        """Closes a work as done or failed; a failed one may still become done. Raises Conflict the other way round."""
        if status not in (DONE, FAILED):
            raise Invalid(f"status: {status!r} is not how a work ends (accepted: {DONE}, {FAILED}).")
        with self._db.write("work", work_id) as conn:
            work = self._work(conn, work_id)
            if work.status == DONE and status != DONE:
                raise Conflict(f"the work {work_id!r} is done already, it cannot become {status}.")
            if work.status != status:
                conn.execute(sa.update(works).where(works.c.project == self._db.project, works.c.id == work_id).values(
                    status=status, error=bounds.text(error, "error", bounds.JSON), ended_at=self._db.clock()))
            return self._work(conn, work_id)

    def claim(self, work_id: str, step: str, owner: str, lease_us: int) -> Claim | Done:
        """Takes a step for `lease_us` microseconds, or gives the result it has finished with.

        A failed step, one whose lease is over, and one of the same owner can be taken again. Raises Conflict while
        somebody else is at it, NotFound when the work was never begun.
        """
        for value, where in ((work_id, "work id"), (step, "step"), (owner, "owner")):
            bounds.name(value, where)
        if lease_us < 1:
            raise Invalid(f"lease_us: {lease_us!r} is not a positive number of microseconds.")
        at = self._db.clock()
        with self._db.write(durable=False) as conn:
            fence = self._claim.run(conn, project=self._db.project, work_id=work_id, step=step, owner=owner, now=at,
                                    until=at + lease_us).scalar()
            if fence is not None:
                return Claim(fence, at + lease_us)
            held = self._step(conn, work_id, step)
        if held.status == DONE:
            return Done(held.result)
        raise Conflict(f"step {step!r} of {work_id!r} is held by {held.owner!r} until {iso(held.lease_until)}.",
                       hint="Wait for it to finish or for its lease to end.")

    def finish(self, work_id: str, step: str, fence: int, result: Json = None) -> None:
        """Writes the result of a step down for good; the same again does nothing.

        Raises Conflict when the step was claimed anew since `fence`, Invalid when the result is not JSON or above 1 MB.
        """
        written = bounds.document(result, f"result of step {step!r}")
        self._close(work_id, step, fence, DONE, written, "")

    def fail(self, work_id: str, step: str, fence: int, error: str) -> None:
        """Gives a step back as failed: anybody may claim it again. Raises Conflict for a stale fence."""
        self._close(work_id, step, fence, FAILED, None, bounds.text(error, "error", bounds.JSON))

    def renew(self, work_id: str, step: str, fence: int, lease_us: int) -> Claim:
        """Runs the lease anew from now. Raises Conflict when the step was claimed anew or has ended."""
        until = self._db.clock() + lease_us
        with self._db.write(durable=False) as conn:
            updated = conn.execute(sa.update(steps).values(lease_until=until).where(
                _STEP.project == self._db.project, _STEP.work_id == work_id, _STEP.step == step, _STEP.fence == fence,
                _STEP.status == RUNNING))
            if not updated.rowcount:
                raise _stale(self._step(conn, work_id, step), fence)
        return Claim(fence, until)

    def work(self, work_id: str) -> Work:
        """A work; raises NotFound."""
        with self._db.read() as conn:
            return self._work(conn, work_id)

    def works(self, *, kind: str | None = None, status: str | None = None, key: str | None = None, limit: int = 1000
              ) -> tuple[Work, ...]:
        """Works, the newest first, of one kind, status or key."""
        found = sa.select(*_WORKS).where(works.c.project == self._db.project)
        for column, wanted in ((works.c.kind, kind), (works.c.status, status), (works.c.key, key)):
            if wanted is not None:
                found = found.where(column == wanted)
        with self._db.read() as conn:
            rows = conn.execute(found.order_by(works.c.begun_at.desc(), works.c.id).limit(
                bounds.page_size(limit, 50_000))).all()
        return tuple(map(_to_work, rows))

    def steps(self, work_id: str) -> tuple[Step, ...]:
        """The steps of a work that were ever claimed, in the order in which they were last started."""
        with self._db.read() as conn:
            rows = conn.execute(sa.select(*_STEPS).where(
                _STEP.project == self._db.project, _STEP.work_id == work_id).order_by(_STEP.started_at, _STEP.step)
                                ).all()
        return tuple(map(_to_step, rows))

    def durations(self, kind: str, step: str, *, limit: int = 20) -> tuple[int, ...]:
        """How many microseconds this step took in works of this kind, the latest first."""
        done = sa.select(_STEP.finished_at - _STEP.started_at).join(
            works, sa.and_(works.c.project == _STEP.project, works.c.id == _STEP.work_id)).where(
            _STEP.project == self._db.project, _STEP.step == step, _STEP.status == DONE, works.c.kind == kind)
        with self._db.read() as conn:
            return tuple(conn.execute(done.order_by(_STEP.finished_at.desc()).limit(
                bounds.page_size(limit, 10_000))).scalars())

    def _close(self, work_id: str, step: str, fence: int, status: str, result: str | None, error: str) -> None:
        with self._db.write() as conn:
            updated = self._end_step.run(
                conn, of_project=self._db.project, of_work=work_id, of_step=step, of_fence=fence, to_status=status,
                to_result=result, to_error=error, to_finished_at=self._db.clock())
            if not updated.rowcount:
                held = self._step(conn, work_id, step)
                same = (held.fence, held.status, held.error) == (fence, status, error)
                if not same or (result is not None and held.result != bounds.read(result)):
                    raise _stale(held, fence)

    def _work(self, conn: sa.Connection, work_id: str) -> Work:
        row = conn.execute(sa.select(*_WORKS).where(
            works.c.project == self._db.project, works.c.id == work_id)).first()
        if row is None:
            raise NotFound(f"no work {work_id!r} in the project {self._db.project!r}.", hint="Begin it first.")
        return _to_work(row)

    def _step(self, conn: sa.Connection, work_id: str, step: str) -> Step:
        row = conn.execute(sa.select(*_STEPS).where(
            _STEP.project == self._db.project, _STEP.work_id == work_id, _STEP.step == step)).first()
        if row is None:
            raise NotFound(f"the step {step!r} of the work {work_id!r} was never claimed.")
        return _to_step(row)


def _claim_statement(database: Database) -> Any:
    insert = database.insert(steps).values(
        project=sa.bindparam("project"), work_id=sa.bindparam("work_id"), step=sa.bindparam("step"), status=RUNNING,
        owner=sa.bindparam("owner"), fence=1, lease_until=sa.bindparam("until"), started_at=sa.bindparam("now"),
        finished_at=None, result=None, error="")
    free = sa.or_(_STEP.status == FAILED, sa.and_(_STEP.status == RUNNING, sa.or_(
        _STEP.lease_until <= sa.bindparam("now"), _STEP.owner == sa.bindparam("owner"))))
    return insert.on_conflict_do_update(
        index_elements=["project", "work_id", "step"], where=free,
        set_={"status": RUNNING, "owner": insert.excluded.owner, "fence": _STEP.fence + 1,
              "lease_until": insert.excluded.lease_until, "started_at": insert.excluded.started_at,
              "finished_at": None, "error": ""}).returning(_STEP.fence)


def _end_statement() -> Any:
    bind = sa.bindparam
    return sa.update(steps).values(
        status=bind("to_status"), result=bind("to_result"), error=bind("to_error"),
        finished_at=bind("to_finished_at")).where(
        _STEP.project == bind("of_project"), _STEP.work_id == bind("of_work"), _STEP.step == bind("of_step"),
        _STEP.fence == bind("of_fence"), _STEP.status == RUNNING)


def _stale(held: Step, fence: int) -> Conflict:
    return Conflict(f"step {held.step!r} of {held.work_id!r} is {held.status} under fence {held.fence} "
                    f"({held.owner!r}), not yours ({fence}).", hint="Stop: somebody else took it over.")


def _to_work(row: sa.Row[Any]) -> Work:
    fields = row._asdict()
    return Work(**{**fields, "request": bounds.read(fields["request"])})


def _to_step(row: sa.Row[Any]) -> Step:
    fields = row._asdict()
    return Step(**{**fields, "result": None if fields["result"] is None else bounds.read(fields["result"])})
