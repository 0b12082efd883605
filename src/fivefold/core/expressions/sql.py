"""An expression as DuckDB SQL that raises for no row.

An argument that a template mentions more than once is bound to a name first, so that the SQL grows with the expression
and not with its depth. DuckDB has no LET; a lambda over a list of one does it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from fivefold.core.expressions.moments import FIRST, LAST
from fivefold.core.expressions.tree import SLOT, Call, Case, Column, Literal, Node, Value
from fivefold.core.types import Type, duckdb_name

_NAME = re.compile(r'(?:\w+|"(?:[^"]|"")*")(?:\.(?:\w+|"(?:[^"]|"")*"))*')
_NOT_NAN = "CASE WHEN isnan({0}) THEN NULL ELSE {0} END"
_COLUMN = {
    Type.FLOAT64: "CASE WHEN isfinite(CAST({0} AS DOUBLE)) THEN CAST({0} AS DOUBLE) + 0e0 END",
    # epoch_us reads TIMESTAMP and TIMESTAMPTZ alike in UTC, whatever the session's zone
    Type.TIMESTAMP: f"make_timestamp(CASE WHEN epoch_us({{0}}) BETWEEN {FIRST} AND {LAST} THEN epoch_us({{0}}) END)",
    Type.INT64: "CAST({0} AS BIGINT)",
    Type.BOOL: "CAST({0} AS BOOLEAN)",
    Type.STRING: "CAST({0} AS VARCHAR)",
}


def to_sql(node: Node, kind: Type, renames: Mapping[str, str]) -> str:
    """The scalar SQL of a node; `renames` gives the SQL to use for a column instead of its quoted name."""
    return f"CAST({_clean(node, renames, itertools.count(1))} AS {duckdb_name(kind)})"


def quoted(name: str) -> str:
    """A name as a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def sql_constant(value: Value, kind: Type | None) -> str:
    """A literal of exactly the column type: DuckDB alone would read 1.5 as DECIMAL and 1 as INTEGER."""
    match value:
        case None:
            return f"CAST(NULL AS {duckdb_name(kind)})" if kind else "NULL"
        case bool():
            return "true" if value else "false"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case int():
            return f"make_timestamp({value})" if kind is Type.TIMESTAMP else f"CAST({value} AS BIGINT)"
        case float():
            mantissa, _, exponent = repr(value).partition("e")
            return f"({mantissa}e{exponent or 0})"


def _write(node: Node, renames: Mapping[str, str], fresh: Iterator[int]) -> str:
    match node:
        case Literal(value=value, type=kind):
            return sql_constant(value, kind)
        case Column(name=name, type=kind):
            given = renames.get(name, quoted(name))
            return _bind(_COLUMN[kind], [(given, bool(_NAME.fullmatch(given)))], (), fresh)
        case Case(branches=branches, otherwise=otherwise):
            whens = " ".join(f"WHEN {_write(c, renames, fresh)} THEN {_write(v, renames, fresh)}" for c, v in branches)
            return f"CASE {whens} ELSE {_write(otherwise, renames, fresh)} END"
        case Call(operation=op, arguments=arguments):
            parts = [_write(a, renames, fresh) if op.nan_in else _clean(a, renames, fresh) for a in arguments]
            atomic = [isinstance(a, (Literal, Column)) for a in arguments]
            static = tuple(sql_constant(v, op.takes[0] if op.name == "in" else None) for v in op.static)
            return _bind(op.sql, list(zip(parts, atomic, strict=True)), static, fresh)


def _clean(node: Node, renames: Mapping[str, str], fresh: Iterator[int]) -> str:
    """A node whose NaN, if it can have any, is turned into null."""
    text = _write(node, renames, fresh)
    return _bind(_NOT_NAN, [(text, False)], (), fresh) if _may_be_nan(node) else text


def _may_be_nan(node: Node) -> bool:
    match node:
        case Call(operation=op, arguments=arguments):
            return op.gives is Type.FLOAT64 and (op.nan_out or (op.nan_in and any(map(_may_be_nan, arguments))))
        case Case(branches=branches, otherwise=otherwise):
            return any(_may_be_nan(v) for _, v in branches) or _may_be_nan(otherwise)
    return False


def _bind(template: str, arguments: list[tuple[str, bool]], static: tuple[str, ...], fresh: Iterator[int]) -> str:
    """The template filled in; an argument it mentions twice is bound unless repeating it costs nothing."""
    mentions = [slot[2] for slot in SLOT.finditer(template) if not slot[1]]
    bound = [i for i, (_, atomic) in enumerate(arguments) if not atomic and mentions.count(str(i)) > 1]
    name = f"__ff{next(fresh)}" if bound else ""
    names = {i: name if len(bound) == 1 else f"{name}.a{i}" for i in bound}

    def fill(slot: re.Match[str]) -> str:
        index = int(slot[2])
        return static[index] if slot[1] else names.get(index, arguments[index][0])

    body = SLOT.sub(fill, template)
    if not bound:
        return body
    held = (
        arguments[bound[0]][0]
        if len(bound) == 1
        else f"struct_pack({', '.join(f'a{i} := {arguments[i][0]}' for i in bound)})"
    )
    return f"list_transform([{held}], lambda {name}: {body})[1]"
