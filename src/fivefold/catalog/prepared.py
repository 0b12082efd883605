"""Statements compiled once: SQLAlchemy's text of the SQL without its cost at every call (about 100 µs less each)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

import sqlalchemy as sa


class Prepared:
    """An INSERT, UPDATE or SELECT with named parameters, for the hot paths.

    Rows come back as the driver gives them: only for columns of texts, numbers and bytes, which is all we have.
    """

    def __init__(self, engine: sa.Engine, statement: Any) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self._sql = str(compiled)
        self._constants: dict[str, Any] = compiled.params
        self._names: list[str] = compiled.positiontup or []
        self._in_order = itemgetter(*self._names) if len(self._names) > 1 else None

    def run(self, conn: sa.Connection, **values: Any) -> sa.CursorResult[Any]:
        """Executes it once."""
        given = {**self._constants, **values}
        return conn.exec_driver_sql(self._sql, tuple(given[name] for name in self._names) if self._names else given)

    def many(self, conn: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Executes it for every row; each gives every parameter."""
        given: list[Any] = list(map(self._in_order, rows)) if self._in_order else list(rows)
        if given:
            conn.exec_driver_sql(self._sql, given)
