"""The log of federated rounds: what was offered, every message that was taken in, where each step ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.federated_tables import messages, rounds
from fivefold.core.errors import Conflict, NotFound

OPEN, DONE, ABORTED = "open", "done", "aborted"
SERVER = ""
"""The sender of the row that ends a step."""

MOST_BODY = 4 << 20
"""Bytes of a message in the log; what is larger is stored in chunks, and the log has their digests."""


class Round(msgspec.Struct, frozen=True):
    """A round: what was offered (signed), who takes part in which bucket, the state before and after (references)."""

    task: str
    round: int
    status: str
    offer: bytes
    buckets: Any
    before: Any
    after: Any
    survivors: Any
    opened_at: int
    deadline: int
    ended_at: int | None
    error: str


class Logged(msgspec.Struct, frozen=True):
    """A message of a step; without a sender it is the end of the step."""

    bucket: int
    step: int
    sender: str
    digest: str
    body: bytes


_ROUND = tuple(rounds.c[field] for field in Round.__struct_fields__)
_LOGGED = tuple(messages.c[field] for field in Logged.__struct_fields__)


class Rounds:
    """The rounds of a project's federations (tasks). At most one of a task is open."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(
        self, task: str, round: int, offer: bytes, buckets: Sequence[Sequence[str]], before: Any, deadline: int
    ) -> Round:
        """Begin a round (numbers grow). Raises Conflict when another is open, or the number was used."""
        bounds.name(task, "task")
        with self._db.write("federation", task) as conn:
            row = conn.execute(self._selected(task).order_by(rounds.c.round.desc()).limit(1)).first()
            if row is not None and (row.status == OPEN or row.round >= round):
                raise Conflict(f"round {row.round} of {task!r} is {row.status}, {round} cannot be opened.")
            values = {
                "project": self._db.project,
                "task": task,
                "round": round,
                "status": OPEN,
                "offer": offer,
                "buckets": bounds.document(buckets, "buckets", bounds.PARTS),
                "before": bounds.document(before, "before"),
                "opened_at": self._db.clock(),
                "deadline": deadline,
                "error": "",
            }
            conn.execute(sa.insert(rounds), values)
            return self._round(conn, task, round)

    def get(self, task: str, round: int) -> Round:
        """A round. Raises NotFound."""
        with self._db.read() as conn:
            return self._round(conn, task, round)

    def all(self, task: str, *, status: str | None = None, limit: int = 1000) -> tuple[Round, ...]:
        """The rounds of a task, the newest first."""
        found = self._selected(task)
        if status is not None:
            found = found.where(rounds.c.status == status)
        page = bounds.page_size(limit, 10_000)
        with self._db.read() as conn:
            rows = conn.execute(found.order_by(rounds.c.round.desc()).limit(page)).all()
        return tuple(map(_round, rows))

    def count(self, task: str, status: str) -> int:
        """How many rounds of a task are of this status."""
        found = sa.select(sa.func.count()).where(self._mine(rounds, task), rounds.c.status == status)
        with self._db.read() as conn:
            return int(conn.execute(found).scalar() or 0)

    def taken(self, task: str, round: int, bucket: int, step: int, sender: str) -> str | None:
        """The digest of what a client has sent at a step, if anything was kept."""
        here = self._step(task, round, bucket, step) & (messages.c.sender == sender)
        with self._db.read() as conn:
            return conn.execute(sa.select(messages.c.digest).where(here)).scalar()

    def take(self, task: str, round: int, logged: Logged) -> bool:
        """Keep a message; False for the same once more.

        Raises Conflict for a second message that differs, and once the step or the round has ended.
        """
        with self._db.write("federation", task) as conn:
            self._require_open(conn, task, round)
            step = self._step(task, round, logged.bucket, logged.step)
            before = {
                row.sender: row.digest
                for row in conn.execute(
                    sa.select(messages.c.sender, messages.c.digest).where(
                        step, messages.c.sender.in_([logged.sender, SERVER])
                    )
                )
            }
            if logged.sender in before:
                if before[logged.sender] == logged.digest:
                    return False
                raise Conflict(f"{logged.sender!r} has sent something else at step {logged.step} of round {round}.")
            if SERVER in before:
                raise Conflict(f"step {logged.step} of round {round} is over.", hint="Wait for the next round.")
            self._insert(conn, task, round, logged)
            return True

    def end_step(self, task: str, round: int, bucket: int, step: int, why: str) -> None:
        """End a step with what has come in; twice is once."""
        with self._db.write("federation", task) as conn:
            self._require_open(conn, task, round)
            values = self._values(task, round, Logged(bucket, step, SERVER, why, b""))
            conn.execute(self._db.insert(messages).values(values).on_conflict_do_nothing())

    def log(self, task: str, round: int) -> tuple[Logged, ...]:
        """Every message of a round, in the order in which it is to be replayed: steps, and each step's end last."""
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(*_LOGGED)
                .where(self._mine(messages, task), messages.c.round == round)
                .order_by(messages.c.bucket, messages.c.step, messages.c.sender == SERVER, messages.c.sender)
            ).all()
        return tuple(Logged(*row) for row in rows)

    def finish(
        self,
        task: str,
        round: int,
        after: Any,
        survivors: Sequence[Sequence[str]],
        closing: Mapping[tuple[int, int], bytes],
        secret_steps: Sequence[int],
    ) -> Round:
        """End a round for good. `closing` are bodies for the ends of steps, by bucket and step; what clients sent at
        `secret_steps` is erased, its digest stays. Finishing again what is done changes nothing."""
        with self._db.write("federation", task) as conn:
            if self._round(conn, task, round).status == DONE:
                return self._round(conn, task, round)
            self._require_open(conn, task, round)
            for (bucket, step), body in closing.items():
                end = self._step(task, round, bucket, step) & (messages.c.sender == SERVER)
                conn.execute(sa.update(messages).where(end).values(body=body))
            self._erase(conn, task, round, secret_steps)
            self._end(
                conn,
                task,
                round,
                status=DONE,
                after=bounds.document(after, "after"),
                survivors=bounds.document(survivors, "survivors", bounds.PARTS),
            )
            return self._round(conn, task, round)

    def abort(self, task: str, round: int, error: str, secret_steps: Sequence[int]) -> None:
        """End a round without a result; one that has ended stays as it is."""
        with self._db.write("federation", task) as conn:
            if self._round(conn, task, round).status == OPEN:
                self._erase(conn, task, round, secret_steps)
                self._end(conn, task, round, status=ABORTED, error=error[: bounds.TEXT])

    def _end(self, conn: sa.Connection, task: str, round: int, **values: Any) -> None:
        mine = self._mine(rounds, task) & (rounds.c.round == round)
        conn.execute(sa.update(rounds).where(mine).values(ended_at=self._db.clock(), **values))

    def _erase(self, conn: sa.Connection, task: str, round: int, steps: Sequence[int]) -> None:
        secret = self._mine(messages, task) & (messages.c.round == round) & messages.c.step.in_(steps)
        conn.execute(sa.update(messages).where(secret, messages.c.sender != SERVER).values(body=b""))

    def _insert(self, conn: sa.Connection, task: str, round: int, logged: Logged) -> None:
        if len(logged.body) > MOST_BODY:
            raise ValueError(f"{len(logged.body)} bytes belong into chunks")
        conn.execute(sa.insert(messages), self._values(task, round, logged))

    def _values(self, task: str, round: int, logged: Logged) -> dict[str, Any]:
        key = {"project": self._db.project, "task": task, "round": round, "received_at": self._db.clock()}
        return {**key, **msgspec.structs.asdict(logged)}

    def _step(self, task: str, round: int, bucket: int, step: int) -> sa.ColumnElement[bool]:
        here = (messages.c.round == round) & (messages.c.bucket == bucket) & (messages.c.step == step)
        return self._mine(messages, task) & here

    def _require_open(self, conn: sa.Connection, task: str, round: int) -> None:
        found = self._round(conn, task, round)
        if found.status != OPEN:
            raise Conflict(f"round {round} of {task!r} is {found.status}.", hint="Wait for the next round.")

    def _round(self, conn: sa.Connection, task: str, round: int) -> Round:
        row = conn.execute(self._selected(task).where(rounds.c.round == round)).first()
        if row is None:
            raise NotFound(f"no round {round} of {task!r}.")
        return _round(row)

    def _selected(self, task: str) -> sa.Select[Any]:
        return sa.select(*_ROUND).where(self._mine(rounds, task))

    def _mine(self, table: sa.Table, task: str) -> sa.ColumnElement[bool]:
        return (table.c.project == self._db.project) & (table.c.task == task)


def _round(row: sa.Row[Any]) -> Round:
    fields = row._asdict()
    for field in ("buckets", "before", "after", "survivors"):
        fields[field] = None if fields[field] is None else bounds.read(fields[field])
    return Round(**fields)
