"""The journal of durable steps: what was asked, who is at it, what came out; finished steps are never run again."""

from __future__ import annotations

import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.journal_rows import (
    DONE,
    FAILED,
    OPEN,
    RUNNING,
    STEP,
    STEPS,
    WORKS,
    Claim,
    Done,
    Step,
    Work,
    claim_statement,
    end_statement,
    stale,
    to_step,
    to_work,
)
from fivefold.catalog.prepared import Prepared
from fivefold.catalog.tables import steps, works
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.time import iso

__all__ = ["Claim", "Done", "Journal", "Step", "Work"]


class Journal:
    """The journal of a project. Claims are single statements, so two workers never both get one."""

    def __init__(self, database: Database) -> None:
        self._db = database
        # prepared: these two are the whole cost of a trivial step
        self._claim = Prepared(database.engine, claim_statement(database))
        self._end_step = Prepared(database.engine, end_statement())

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
                project=self._db.project,
                id=work_id,
                kind=kind,
                key=key,
                request=written,
                status=OPEN,
                error="",
                begun_at=self._db.clock(),
            )
            conn.execute(insert.on_conflict_do_nothing())
            work = self._work(conn, work_id)
        if (work.kind, work.key, work.request) != (kind, key, bounds.read(written)):
            raise Conflict(
                f"the work {work_id!r} was begun as {work.kind!r} with another key or request.",
                hint="Give every work an id of its own.",
            )
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
                conn.execute(
                    sa.update(works)
                    .where(works.c.project == self._db.project, works.c.id == work_id)
                    .values(status=status, error=bounds.text(error, "error", bounds.JSON), ended_at=self._db.clock())
                )
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
            fence = self._claim.run(
                conn, project=self._db.project, work_id=work_id, step=step, owner=owner, now=at, until=at + lease_us
            ).scalar()
            if fence is not None:
                return Claim(fence, at + lease_us)
            held = self._step(conn, work_id, step)
        if held.status == DONE:
            return Done(held.result)
        raise Conflict(
            f"step {step!r} of {work_id!r} is held by {held.owner!r} until {iso(held.lease_until)}.",
            hint="Wait for it to finish or for its lease to end.",
        )

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
            updated = conn.execute(
                sa.update(steps)
                .values(lease_until=until)
                .where(
                    STEP.project == self._db.project,
                    STEP.work_id == work_id,
                    STEP.step == step,
                    STEP.fence == fence,
                    STEP.status == RUNNING,
                )
            )
            if not updated.rowcount:
                raise stale(self._step(conn, work_id, step), fence)
        return Claim(fence, until)

    def work(self, work_id: str) -> Work:
        """A work; raises NotFound."""
        with self._db.read() as conn:
            return self._work(conn, work_id)

    def works(
        self, *, kind: str | None = None, status: str | None = None, key: str | None = None, limit: int = 1000
    ) -> tuple[Work, ...]:
        """Works, the newest first, of one kind, status or key."""
        found = sa.select(*WORKS).where(works.c.project == self._db.project)
        for column, wanted in ((works.c.kind, kind), (works.c.status, status), (works.c.key, key)):
            if wanted is not None:
                found = found.where(column == wanted)
        with self._db.read() as conn:
            rows = conn.execute(
                found.order_by(works.c.begun_at.desc(), works.c.id).limit(bounds.page_size(limit, 50_000))
            ).all()
        return tuple(map(to_work, rows))

    def steps(self, work_id: str) -> tuple[Step, ...]:
        """The steps of a work that were ever claimed, in the order in which they were last started."""
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(*STEPS)
                .where(STEP.project == self._db.project, STEP.work_id == work_id)
                .order_by(STEP.started_at, STEP.step)
            ).all()
        return tuple(map(to_step, rows))

    def durations(self, kind: str, step: str, *, limit: int = 20) -> tuple[int, ...]:
        """How many microseconds this step took in works of this kind, the latest first."""
        done = (
            sa.select(STEP.finished_at - STEP.started_at)
            .join(works, sa.and_(works.c.project == STEP.project, works.c.id == STEP.work_id))
            .where(STEP.project == self._db.project, STEP.step == step, STEP.status == DONE, works.c.kind == kind)
        )
        with self._db.read() as conn:
            return tuple(
                conn.execute(done.order_by(STEP.finished_at.desc()).limit(bounds.page_size(limit, 10_000))).scalars()
            )

    def _close(self, work_id: str, step: str, fence: int, status: str, result: str | None, error: str) -> None:
        with self._db.write() as conn:
            updated = self._end_step.run(
                conn,
                of_project=self._db.project,
                of_work=work_id,
                of_step=step,
                of_fence=fence,
                to_status=status,
                to_result=result,
                to_error=error,
                to_finished_at=self._db.clock(),
            )
            if not updated.rowcount:
                held = self._step(conn, work_id, step)
                same = (held.fence, held.status, held.error) == (fence, status, error)
                if not same or (result is not None and held.result != bounds.read(result)):
                    raise stale(held, fence)

    def _work(self, conn: sa.Connection, work_id: str) -> Work:
        row = conn.execute(sa.select(*WORKS).where(works.c.project == self._db.project, works.c.id == work_id)).first()
        if row is None:
            raise NotFound(f"no work {work_id!r} in the project {self._db.project!r}.", hint="Begin it first.")
        return to_work(row)

    def _step(self, conn: sa.Connection, work_id: str, step: str) -> Step:
        row = conn.execute(
            sa.select(*STEPS).where(STEP.project == self._db.project, STEP.work_id == work_id, STEP.step == step)
        ).first()
        if row is None:
            raise NotFound(f"the step {step!r} of the work {work_id!r} was never claimed.")
        return to_step(row)
