"""The checks of a source that one row alone can be held to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fivefold.core.errors import Invalid
from fivefold.core.expressions import parse
from fivefold.core.sources import Check, OnFail
from fivefold.core.types import Schema
from fivefold.features.fields import shown


class _Rule(NamedTuple):
    name: str
    refuses: bool
    columns: tuple[str, ...]
    holds: Callable[..., Any]


class Rules:
    """Row checks over the fields that a row carries (all of the schema's, when none are named)."""

    def __init__(self, checks: Iterable[Check], schema: Schema, fields: Collection[str] | None = None) -> None:
        self._rules = []
        for item in checks:
            if item.rule == "row" and item.expression:
                condition = parse(item.expression, schema, item.name)
                if set(condition.columns) <= set(schema if fields is None else fields):
                    refuses = item.on_fail != OnFail.WARN
                    self._rules.append(_Rule(item.name, refuses, condition.columns, condition.function()))

    def warnings(self, row: Mapping[str, Any]) -> list[str]:
        """The warnings of a row. Raises Invalid for one that breaks a check that refuses it."""
        warnings = []
        for rule in self._rules:
            if rule.holds(*[row[c] for c in rule.columns]) is False:
                if rule.refuses:
                    values = ", ".join(f"{c} = {shown(row[c])}" for c in rule.columns)
                    raise Invalid(
                        f"the row breaks the check {rule.name!r}: {values}.",
                        hint="Send a value for which it holds, or null.",
                    )
                warnings.append(f"the check {rule.name!r} does not hold")
        return warnings
