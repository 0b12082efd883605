"""The journal as rows: what is stored of works and steps, and the two statements that a step costs."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.tables import steps, works
from fivefold.core.errors import Conflict

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


STEP = steps.c
STEPS = tuple(STEP[field] for field in Step.__struct_fields__)
WORKS = tuple(works.c[field] for field in Work.__struct_fields__)


def claim_statement(database: Database) -> Any:
    insert = database.insert(steps).values(
        project=sa.bindparam("project"),
        work_id=sa.bindparam("work_id"),
        step=sa.bindparam("step"),
        status=RUNNING,
        owner=sa.bindparam("owner"),
        fence=1,
        lease_until=sa.bindparam("until"),
        started_at=sa.bindparam("now"),
        finished_at=None,
        result=None,
        error="",
    )
    free = sa.or_(
        STEP.status == FAILED,
        sa.and_(
            STEP.status == RUNNING, sa.or_(STEP.lease_until <= sa.bindparam("now"), STEP.owner == sa.bindparam("owner"))
        ),
    )
    return insert.on_conflict_do_update(
        index_elements=["project", "work_id", "step"],
        where=free,
        set_={
            "status": RUNNING,
            "owner": insert.excluded.owner,
            "fence": STEP.fence + 1,
            "lease_until": insert.excluded.lease_until,
            "started_at": insert.excluded.started_at,
            "finished_at": None,
            "error": "",
        },
    ).returning(STEP.fence)


def end_statement() -> Any:
    bind = sa.bindparam
    return (
        sa.update(steps)
        .values(
            status=bind("to_status"),
            result=bind("to_result"),
            error=bind("to_error"),
            finished_at=bind("to_finished_at"),
        )
        .where(
            STEP.project == bind("of_project"),
            STEP.work_id == bind("of_work"),
            STEP.step == bind("of_step"),
            STEP.fence == bind("of_fence"),
            STEP.status == RUNNING,
        )
    )


def stale(held: Step, fence: int) -> Conflict:
    return Conflict(
        f"step {held.step!r} of {held.work_id!r} is {held.status} under fence {held.fence} "
        f"({held.owner!r}), not yours ({fence}).",
        hint="Stop: somebody else took it over.",
    )


def to_work(row: sa.Row[Any]) -> Work:
    fields = row._asdict()
    return Work(**{**fields, "request": bounds.read(fields["request"])})


def to_step(row: sa.Row[Any]) -> Step:
    fields = row._asdict()
    return Step(**{**fields, "result": None if fields["result"] is None else bounds.read(fields["result"])})
