"""What a view's SQL reads: its tables, and for each output column the source columns it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fivefold.core.errors import Invalid
from fivefold.core.types import Schema, duckdb_name


class Column(NamedTuple):
    """A column of a source, by name."""

    source: str
    column: str


def parse_view(sql: str, where: str) -> Any:
    """The syntax tree (sqlglot) of a view's SELECT.

    Raises Invalid, naming `where` and the position, for anything but one SELECT.
    """
    import sqlglot
    from sqlglot import errors, exp

    try:
        trees = sqlglot.parse(sql, dialect="duckdb")
    except errors.SqlglotError as e:
        said = getattr(e, "errors", None) or [{}]
        at = f" at line {said[0]['line']}, column {said[0]['col']}" if "line" in said[0] else ""
        raise Invalid(f"{where}: the SQL does not parse{at}: {said[0].get('description', e)}.") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise Invalid(f"{where}: the SQL must be one SELECT.", hint=f"It is: {sql[:80]!r}.")
    for call in trees[0].find_all(exp.Table):
        if not isinstance(call.this, exp.Identifier):
            raise Invalid(
                f"{where}: {call.sql(dialect='duckdb')!r} reads from outside the project.",
                hint="Declare an ff.Table for it and select from that.",
            )
    return trees[0]


def tables_used(sql: str, where: str = "view") -> tuple[str, ...]:
    """Names of the tables and views a SELECT reads, in order of first use; its own WITH names are left out."""
    from sqlglot.optimizer.scope import traverse_scope

    found: dict[str, None] = {}
    for scope in traverse_scope(parse_view(sql, where)):
        for table in scope.tables:
            if table.name not in scope.cte_sources:
                found[table.name] = None
    return tuple(found)


def row_wise(sql: str, where: str = "view") -> str | None:
    """The one table whose rows a SELECT treats each alone, or None.

    Then partitions of that table can be derived independently: no grouping, ordering, window, set operation or
    sub-select, and it stands first in FROM with only inner, left or cross joins behind it.
    """
    from sqlglot import exp

    tree = parse_view(sql, where)
    if not isinstance(tree, exp.Select):
        return None
    whole = (
        exp.Group,
        exp.Having,
        exp.Order,
        exp.Limit,
        exp.Offset,
        exp.Distinct,
        exp.Window,
        exp.AggFunc,
        exp.Subquery,
        exp.With,
        exp.Qualify,
    )
    if any(True for _ in tree.find_all(*whole)):
        return None
    start = tree.args.get("from_") or tree.args.get("from")
    if start is None or not isinstance(start.this, exp.Table):
        return None
    main = start.this.name
    for join in tree.args.get("joins") or ():
        if join.side in ("RIGHT", "FULL") or not isinstance(join.this, exp.Table) or join.this.name == main:
            return None
    return str(main)


def column_lineage(sql: str, schemas: Mapping[str, Schema], where: str = "view") -> dict[str, frozenset[Column]]:
    """For each output column of a SELECT, the columns of its tables that its value is made of."""
    from sqlglot import exp
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify

    used = tables_used(sql, where)
    shapes: dict[str, object] = {t: {c: duckdb_name(k) for c, k in schemas[t].items()} for t in used if t in schemas}
    tree = qualify(parse_view(sql, where), schema=shapes, dialect="duckdb", validate_qualify_columns=False)
    out: dict[str, frozenset[Column]] = {}
    for name in tree.named_selects:
        found = set()
        for node in lineage(name, tree.copy(), schema=shapes, dialect="duckdb").walk():
            if isinstance(node.expression, exp.Table) and not node.downstream:
                found.add(Column(node.expression.name, node.name.split(".")[-1].strip('"')))
        out[name] = frozenset(found)
    return out
