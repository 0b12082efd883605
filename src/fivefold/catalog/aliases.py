"""Aliases: names that point to a version, with their whole history in two times.

An alias is a list of change points: from `valid_from` on it points to `version`. Points are only added; of two at one
instant the later recorded one holds. So `valid_at` asks what served then, and `known_at` what the catalog said so far:
the bitemporal model of Snodgrass, "Developing Time-Oriented Database Applications in SQL" (1999), ch. 10.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.tables import alias_changes, versions
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.time import iso


class AliasChange(msgspec.Struct, frozen=True):
    """From `valid_from` on the alias points to `version` (None: to nothing); written down at `recorded_at`.

    `decision` is what led to it (gates, figures); `key` makes a retried move count once.
    """

    model: str
    alias: str
    number: int
    version: int | None
    valid_from: int
    recorded_at: int
    actor: str
    reason: str
    decision: Any
    key: str


_CHANGE = alias_changes.c
_COLUMNS = tuple(_CHANGE[field] for field in AliasChange.__struct_fields__)


class Aliases:
    """The aliases of a project's models."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def move(
        self,
        model: str,
        alias: str,
        to: int | None,
        *,
        expected: int | None,
        actor: str,
        reason: str = "",
        decision: Json = None,
        key: str = "",
    ) -> AliasChange:
        """Points the alias to version `to` (None: to nothing) if it points to `expected` now.

        A call repeated under the same `key` returns the change it made. Raises Conflict when the alias points
        elsewhere, NotFound when the version does not exist.
        """
        _check(model, alias, actor, reason)
        written = bounds.document(decision, "decision")
        with self._db.write("alias", model, alias) as conn:
            made = self._delivered(conn, model, alias, key)
            if made is not None:
                if made.version != to:
                    raise Conflict(f"the key {key!r} moved {model}@{alias} to {made.version} before, not to {to}.")
                return made
            changes = self._changes(conn, model, alias)
            current = _pointing(changes)
            held = current.version if current else None
            if held != expected:
                raise Conflict(
                    f"{model}@{alias} points to {_spelled(held)}, not to {_spelled(expected)}: somebody "
                    "moved it meanwhile.",
                    hint="Read the alias again, and decide anew.",
                )
            self._version_exists(conn, model, to)
            # a clock that was set back must not hide this change behind an earlier one
            at = max(self._db.clock(), current.valid_from if current else 0)
            return self._add(
                conn,
                changes,
                AliasChange(model, alias, 0, to, at, at, actor, reason, decision, key),
                written,
                "move",
                held,
            )

    def correct(
        self,
        model: str,
        alias: str,
        to: int | None,
        *,
        valid_from: int,
        valid_to: int | None = None,
        actor: str,
        reason: str,
    ) -> tuple[AliasChange, ...]:
        """Records late what really was: the alias pointed to `to` from `valid_from` until `valid_to`.

        Until the next known change when `valid_to` is None. What was recorded before stays, and is what
        `at(..., known_at=)` answers for the time before the correction. Raises Invalid for times in the future or in
        the wrong order, NotFound when the version does not exist.
        """
        _check(model, alias, actor, reason)
        with self._db.write("alias", model, alias) as conn:
            changes = self._changes(conn, model, alias)
            now = max(self._db.clock(), max((c.recorded_at for c in changes), default=0))
            if not valid_from < (now if valid_to is None else valid_to) <= now:
                raise Invalid(
                    f"{model}@{alias}: a correction from {iso(valid_from)} until "
                    f"{'the next change' if valid_to is None else iso(valid_to)} does not lie in the past.",
                    hint="Use move for what holds from now on.",
                )
            self._version_exists(conn, model, to)
            points: dict[int, int | None] = {valid_from: to}
            if valid_to is not None:
                points |= {c.valid_from: to for c in changes if valid_from < c.valid_from < valid_to}
                after = _pointing(changes, valid_to)
                points[valid_to] = after.version if after else None
            made = []
            for at, version in sorted(points.items()):
                before = _pointing(changes, at)
                change = AliasChange(model, alias, 0, version, at, now, actor, reason, None, "")
                made.append(self._add(conn, changes, change, "null", "correct", before.version if before else None))
                changes.append(made[-1])
        return tuple(made)

    def current(self, model: str, alias: str) -> int | None:
        """The number of the version that the alias points to; None when to none, or never set."""
        with self._db.read() as conn:
            current = _pointing(self._changes(conn, model, alias, last=True))
        return current.version if current else None

    def at(self, model: str, alias: str, valid_at: int, known_at: int | None = None) -> AliasChange | None:
        """The change that held at `valid_at`, as far as it was recorded by `known_at` (None: by now); None if none."""
        with self._db.read() as conn:
            return _pointing(self._changes(conn, model, alias), valid_at, known_at)

    def all(self, model: str | None = None) -> dict[tuple[str, str], int]:
        """Every alias that points to a version now, of one model or of all: (model, alias) to number."""
        place = [_CHANGE.model, _CHANGE.alias]
        newest = (
            sa.func.row_number()
            .over(partition_by=place, order_by=[_CHANGE.valid_from.desc(), _CHANGE.number.desc()])
            .label("newest")
        )
        found = sa.select(*place, _CHANGE.version, newest).where(_CHANGE.project == self._db.project)
        if model is not None:
            found = found.where(_CHANGE.model == model)
        inner = found.subquery()
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(inner)
                .where(inner.c.newest == 1, inner.c.version.is_not(None))
                .order_by(inner.c.model, inner.c.alias)
            ).all()
        return {(row.model, row.alias): row.version for row in rows}

    def history(self, model: str, alias: str | None = None) -> tuple[AliasChange, ...]:
        """Every change of the model's aliases (of one when named), in the order in which they were recorded."""
        with self._db.read() as conn:
            changes = self._changes(conn, model, alias)
        return tuple(sorted(changes, key=lambda c: (c.recorded_at, c.alias, c.number)))

    def _changes(self, conn: sa.Connection, model: str, alias: str | None, *, last: bool = False) -> list[AliasChange]:
        found = sa.select(*_COLUMNS).where(_CHANGE.project == self._db.project, _CHANGE.model == model)
        if alias is not None:
            found = found.where(_CHANGE.alias == alias)
        found = found.order_by(_CHANGE.valid_from.desc(), _CHANGE.number.desc())
        return [_from_row(row) for row in conn.execute(found.limit(1) if last else found).all()]

    def _delivered(self, conn: sa.Connection, model: str, alias: str, key: str) -> AliasChange | None:
        if not key:
            return None
        row = conn.execute(
            sa.select(*_COLUMNS).where(
                _CHANGE.project == self._db.project,
                _CHANGE.model == model,
                _CHANGE.alias == alias,
                _CHANGE.key == bounds.name(key, "idempotency key"),
            )
        ).first()
        return _from_row(row) if row else None

    def _version_exists(self, conn: sa.Connection, model: str, number: int | None) -> None:
        if (
            number is not None
            and conn.execute(
                sa.select(versions.c.number).where(
                    versions.c.project == self._db.project, versions.c.model == model, versions.c.number == number
                )
            ).first()
            is None
        ):
            raise NotFound(f"no version {number} of the model {model!r}.", hint="Register it before pointing to it.")

    def _add(
        self,
        conn: sa.Connection,
        changes: list[AliasChange],
        change: AliasChange,
        decision: str,
        action: str,
        before: int | None,
    ) -> AliasChange:
        made = msgspec.structs.replace(change, number=max((c.number for c in changes), default=0) + 1)
        conn.execute(
            sa.insert(alias_changes),
            {"project": self._db.project, **msgspec.structs.asdict(made), "decision": decision},
        )
        note = made.reason if action == "move" else f"from {iso(made.valid_from)}: {made.reason}"
        record(
            conn,
            self._db.project,
            made.recorded_at,
            made.actor,
            action,
            f"model/{made.model}@{made.alias}",
            None if before is None else str(before),
            None if made.version is None else str(made.version),
            note,
        )
        return made


def _pointing(
    changes: list[AliasChange], valid_at: int | None = None, known_at: int | None = None
) -> AliasChange | None:
    """The change that holds at an instant (None: at the end of time), of those recorded by `known_at`."""
    holding = [
        c
        for c in changes
        if (valid_at is None or c.valid_from <= valid_at) and (known_at is None or c.recorded_at <= known_at)
    ]
    return max(holding, key=lambda c: (c.valid_from, c.number), default=None)


def _check(model: str, alias: str, actor: str, reason: str) -> None:
    for value, where in ((model, "model"), (alias, "alias"), (actor, "actor")):
        bounds.name(value, where)
    bounds.text(reason, "reason")


def _spelled(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


def _from_row(row: sa.Row[Any]) -> AliasChange:
    fields = row._asdict()
    return AliasChange(**{**fields, "decision": bounds.read(fields["decision"])})
