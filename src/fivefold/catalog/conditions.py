"""Conditions on runs, as SQL over the rows kept for searching."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog.database import Database
from fivefold.catalog.run_rows import STATUSES, status_at
from fivefold.catalog.tables import labels, latest_metrics, runs
from fivefold.core.errors import Invalid, did_you_mean

_COMPARE: dict[str, Any] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS = {"started_at": runs.c.started_at, "ended_at": runs.c.ended_at}
_TEXTS = {"id": runs.c.id, "kind": runs.c.kind, "name": runs.c.name, "actor": runs.c.actor}


class Condition(msgspec.Struct, frozen=True):
    """`field` is metrics.KEY, params.KEY, tags.KEY or an attribute of a run; texts know only = and !=.

    A run that has no such metric, param or tag meets no condition on it.
    """

    field: str
    op: str
    value: str | int | float


def filters(
    database: Database,
    *,
    kind: str | None,
    name: str | None,
    status: str | None,
    tags: Mapping[str, str],
    where: Sequence[Condition],
) -> Iterator[sa.ColumnElement[bool]]:
    """The SQL conditions of a search; raises Invalid for an unknown status, field or operator."""
    if kind is not None:
        yield runs.c.kind == kind
    if name is not None:
        yield runs.c.name == name
    if status is not None:
        yield _status(database, Condition("status", "=", status))
    for key, value in tags.items():
        yield _label("tags", key, Condition(f"tags.{key}", "=", value))
    for condition in where:
        yield _condition(database, condition)


def _condition(database: Database, asked: Condition) -> sa.ColumnElement[bool]:
    space, _, key = asked.field.partition(".")
    if space == "metrics" and key:
        latest = latest_metrics.alias().c
        return sa.exists().where(
            latest.project == runs.c.project,
            latest.run_id == runs.c.id,
            latest.key == key,
            _compare(asked, latest.value, number=True),
        )
    if space in ("params", "tags") and key:
        return _label(space, key, asked)
    if asked.field == "status":
        return _status(database, asked)
    if asked.field in _NUMBERS:
        return _compare(asked, _NUMBERS[asked.field], number=True)
    if asked.field in _TEXTS:
        return _compare(asked, _TEXTS[asked.field], number=False)
    fields = ["status", *_NUMBERS, *_TEXTS]
    raise Invalid(
        f"condition: {asked.field!r} is not a field of runs (accepted: metrics.KEY, params.KEY, tags.KEY, "
        f"{', '.join(fields)}).",
        hint=did_you_mean(asked.field, fields),
    )


def _status(database: Database, asked: Condition) -> sa.ColumnElement[bool]:
    if asked.value not in STATUSES:
        raise Invalid(
            f"status: {asked.value!r} is not one of runs (accepted: {', '.join(STATUSES)}).",
            hint=did_you_mean(str(asked.value), STATUSES),
        )
    return _compare(asked, status_at(database.clock()), number=False)


def _label(space: str, key: str, asked: Condition) -> sa.ColumnElement[bool]:
    return sa.exists().where(
        labels.c.project == runs.c.project,
        labels.c.space == space,
        labels.c.key == key,
        labels.c.run_id == runs.c.id,
        _compare(asked, labels.c.value, number=False),
    )


def _compare(asked: Condition, column: sa.ColumnElement[Any], *, number: bool) -> sa.ColumnElement[bool]:
    accepted = list(_COMPARE) if number else ["=", "!="]
    wrong = isinstance(asked.value, str) if number else not isinstance(asked.value, str)
    if asked.op not in accepted or wrong or (isinstance(asked.value, int) and abs(asked.value) >= 2**63):
        raise Invalid(
            f"condition: {asked.field} {asked.op} {asked.value!r} is not accepted "
            f"({'a number' if number else 'a text'} and one of {' '.join(accepted)})."
        )
    compared: sa.ColumnElement[bool] = _COMPARE[asked.op](column, asked.value)
    return compared
