"""Checks run inside DuckDB: which rows break which check, and what then happens to the partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from fivefold.core.errors import Invalid
from fivefold.core.expressions import parse
from fivefold.core.sources import Check, OnFail, Source
from fivefold.core.time import iso
from fivefold.core.types import Schema, Type
from fivefold.data.duck import ident, only, parquet

_SHOWN = 3


def all_checks(checks: Sequence[Check], ranges: Mapping[str, float]) -> list[Check]:
    """The declared checks, and the ones that always hold: values fit their type, and summed ones their scale."""
    declared = list(checks)
    if not any(c.rule == "typed" for c in declared):
        declared.insert(0, Check("typed", on_fail=OnFail.FAIL, name="types"))
    for column, magnitude in ranges.items():
        declared.append(
            Check(
                "magnitude",
                columns=(column,),
                at_most=magnitude,
                on_fail=OnFail.QUARANTINE,
                name=f"{column} can be summed exactly: below {magnitude:g}",
            )
        )
    return declared


def breaks(item: Check, schema: Schema, columns: Mapping[str, str], where: str, others: Sequence[Path]) -> str | None:
    """SQL that is true for a row that breaks a check; None for checks of the partition as a whole."""
    match item.rule:
        case "typed":
            return " or ".join(f"({sql})" for sql in lost_values(schema, columns).values()) or "false"
        case "row":
            condition = parse(item.expression or "", schema, f"{where}, check {item.name!r}")
            return f"not ({condition.sql({c: f't.{ident(c)}' for c in condition.columns})})"
        case "magnitude":
            return f"abs(t.{ident(item.columns[0])}) >= '{item.at_most}'::double"
        case "unique":
            key = ", ".join(f"t.{ident(c)}" for c in item.columns)
            again = f"row_number() over (partition by {key} order by __row) > 1"
            if others:
                match_ = " and ".join(f"o.{ident(c)} = t.{ident(c)}" for c in item.columns)
                again += f" or exists (select 1 from {parquet(others)} o where {match_})"
            return again
    return None


def lost_values(schema: Schema, columns: Mapping[str, str]) -> dict[str, str]:
    """By column that can lose values to its type, SQL that is true where one was lost."""
    # a NaN is a null by rule, not a value that was lost
    spared = {
        c: f" and not coalesce(isnan(try_cast(i.{ident(c)} as double)), false)" if k is Type.FLOAT64 else ""
        for c, k in schema.items()
    }
    return {
        c: f"i.{ident(c)} is not null and t.{ident(c)} is null{spared[c]}"
        for c, k in schema.items()
        if not _always_fits(columns[c], k)
    }


def _always_fits(have: str, kind: Type) -> bool:
    same = {
        Type.INT64: ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"),
        Type.FLOAT64: ("TINYINT", "SMALLINT", "INTEGER"),
        Type.BOOL: ("BOOLEAN",),
        Type.STRING: ("VARCHAR",),
        Type.TIMESTAMP: ("TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE"),
    }
    return have in same[kind]


def enforce(
    connection: duckdb.DuckDBPyConnection, reasons: Mapping[Check, str], where: str, schema: Schema
) -> dict[str, int]:
    """Raise for broken checks that fail; count the broken ones that warn."""
    if not reasons:
        return {}
    counts = only(
        connection, "select " + ", ".join(f"count(*) filter (__c{i})" for i in range(len(reasons))) + " from checked"
    )
    warnings = {}
    for i, (item, broken) in enumerate(zip(reasons, counts, strict=True)):
        if not broken:
            continue
        if item.on_fail == OnFail.FAIL:
            raise Invalid(
                f"{where}: {broken} of its rows break the check {item.name!r}: "
                f"{_examples(connection, i, item, schema)}.",
                hint="Mend the data, or declare the check with on_fail='quarantine'"
                + (": ff.typed()." if item.rule == "typed" else "."),
            )
        if item.on_fail == OnFail.WARN:
            warnings[item.name] = int(broken)
    return warnings


def _examples(connection: duckdb.DuckDBPyConnection, index: int, item: Check, schema: Schema) -> str:
    """The first rows that break a check, with the values that matter."""
    columns = list(item.columns)
    if item.rule == "row" and not columns:
        columns = list(parse(item.expression or "", schema, item.name).columns)
    columns = columns or list(schema)
    shown = ", ".join(f"i.{ident(c)}::varchar, t.{ident(c)} is null" for c in columns)
    found = connection.execute(
        f"select __row, {shown} from checked t join incoming i using (__row) where __c{index} "
        f"order by __row limit {_SHOWN}"
    ).fetchall()
    texts = []
    for row in found:
        pairs = zip(columns, row[1::2], row[2::2], strict=True)
        values = [
            f"{c} = {v!r}" + (f" (not {schema[c]})" if item.rule == "typed" else "")
            for c, v, lost in pairs
            if item.rule != "typed" or (lost and v is not None)
        ]
        texts.append(f"row {row[0]} has {', '.join(values)}")
    return "; ".join(texts)


def whole(
    connection: duckdb.DuckDBPyConnection, source: Source, where: str, now: int, warnings: dict[str, int]
) -> None:
    """Checks of the partition as a whole: share of nulls, number of rows, freshness."""
    for item in source.checks:
        if item.rule == "nulls":
            row = only(connection, f"select count(*) - count({ident(item.columns[0])}), count(*) from checked")
            share = row[0] / row[1] if row[1] else 0.0
            said = f"{share:.2%} of {item.columns[0]} is null, at most {item.at_most:.2%} is accepted"
            ok = share <= (item.at_most or 0.0)
        elif item.rule == "rows":
            row = only(connection, "select count(*) from checked")
            ok = (item.at_least or 0) <= row[0] <= (item.at_most if item.at_most is not None else row[0])
            said = f"it has {row[0]} rows, accepted are {item.at_least or 0:.0f} to {item.at_most or 'any number'}"
        elif item.rule == "fresh" and source.time is not None:
            row = only(connection, f"select epoch_us(max({ident(source.time)})) from checked")
            newest = row[0] if row else None
            ok = newest is not None and now - newest <= (item.at_most or 0) * 1e6
            said = f"its newest row is of {iso(newest)}" if newest is not None else "it has no row with a time"
        else:
            continue
        if not ok and item.on_fail == OnFail.FAIL:
            raise Invalid(
                f"{where} breaks the check {item.name!r}: {said}.",
                hint="Mend the data, or declare the check with on_fail='warn'.",
            )
        if not ok:
            warnings[item.name] = warnings.get(item.name, 0) + 1
