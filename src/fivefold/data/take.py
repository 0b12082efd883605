"""Rows are taken in: typed, checked, set aside or kept, and written as one immutable part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import msgspec
import pyarrow.parquet as pq

from fivefold.core.errors import Invalid
from fivefold.core.sources import Check, OnFail, Source
from fivefold.core.types import Schema, Type
from fivefold.data.checks import all_checks, breaks, enforce, lost_values, whole
from fivefold.data.duck import cast, ident, only, text
from fivefold.data.parts import ROW_GROUP, atomically, write_part
from fivefold.data.snapshots import ColumnProfile, Part, quarantine_file


class Incoming(msgspec.Struct, frozen=True):
    """Rows on their way in: a relation, its DuckDB column types, where they come from and how they were made."""

    relation: str
    columns: Mapping[str, str]
    name: str
    fingerprint: str


def take(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    schema: Schema,
    rows: Incoming,
    tables: Path,
    *,
    now: int,
    others: Sequence[Path] = (),
    ranges: Mapping[str, float],
) -> Part:
    """Check the rows of a partition and write what is good of it below `tables`.

    Raises Invalid, naming the check, the number of rows and the first few with their values, when a check with
    `on_fail="fail"` is broken; then nothing is written. `others` are the parts of the source taken before, which
    `unique` looks into; `ranges` the magnitudes of columns from which on a row is quarantined; `now` (microseconds UTC)
    is what freshness is measured against.
    """
    where = f"{source.ref}, {rows.name}"
    missing = [c for c in schema if c not in rows.columns]
    if missing:
        raise Invalid(
            f"{where}: the column {missing[0]!r} is missing (it has: {', '.join(rows.columns)}).",
            hint="Put it back, or change the schema of the source.",
        )
    connection.execute(
        f"create or replace temp table incoming as select *, row_number() over () as __row from {rows.relation}"
    )
    typed = ", ".join(f"{cast(c, k, rows.columns[c], attempt=True)} as {ident(c)}" for c, k in schema.items())
    connection.execute(f"create or replace temp view typed as select {typed}, __row from incoming")
    broken = {item: breaks(item, schema, rows.columns, where, others) for item in all_checks(source.checks, ranges)}
    reasons = {item: sql for item, sql in broken.items() if sql is not None}
    flags = ", ".join(f"coalesce({sql}, false) as __c{i}" for i, sql in enumerate(reasons.values()))
    connection.execute(
        "create or replace temp table checked as select t.*"
        + (f", {flags}" if flags else "")
        + " from typed t join incoming i using (__row) order by __row"
    )
    warnings = enforce(connection, reasons, where, schema)
    whole(connection, source, where, now, warnings)
    return _write(connection, source, schema, rows, tables, reasons, warnings)


def _write(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    schema: Schema,
    rows: Incoming,
    tables: Path,
    reasons: Mapping[Check, str],
    warnings: Mapping[str, int],
) -> Part:
    aside = [i for i, item in enumerate(reasons) if item.on_fail == OnFail.QUARANTINE]
    bad = " or ".join(f"__c{i}" for i in aside) or "false"
    names = list(reasons)
    columns = ", ".join(ident(c) for c in schema)
    reader = connection.sql(f"select {columns} from checked where not ({bad}) order by __row").to_arrow_reader(
        ROW_GROUP
    )
    digest, count, size = write_part(reader, schema, tables, source.name)
    quarantine = None
    quarantined = only(connection, f"select count(*) from checked where {bad}")
    if quarantined and quarantined[0]:
        why = ", ".join(f"case when __c{i} then {_reason(names[i], schema, rows.columns)} end" for i in aside)
        original = ", ".join(f"{ident(c)} := i.{ident(c)}" for c in rows.columns)
        kept = connection.sql(
            f"select {text(rows.name)} as source, __row as row, "
            f"list_filter([{why}], lambda x: x is not null) as reasons, "
            f"cast(to_json(struct_pack({original})) as varchar) as original from checked t "
            "join incoming i using (__row) "
            f"where {bad} order by __row"
        ).to_arrow_table()
        quarantine = hashlib.sha256(rows.fingerprint.encode()).hexdigest()
        atomically(quarantine_file(tables, source.name, quarantine), lambda path: pq.write_table(kept, path))
    mistyped = [i for i in aside if names[i].rule == "typed"]
    lost = bool(mistyped) and only(connection, f"select bool_and(__c{mistyped[0]}) from checked")[0]
    if not count and quarantined[0] and lost:
        raise Invalid(
            f"{source.ref}, {rows.name}: every one of its {quarantined[0]} rows has a value of the wrong type; "
            f"the first: {kept['reasons'][0].as_py()[0]}.",
            hint="Declare the column's type with schema=, or mend the data.",
        )
    return Part(
        rows.name,
        rows.fingerprint,
        digest,
        count,
        size,
        quarantined[0] if quarantined else 0,
        quarantine,
        dict(warnings),
        profile_of(connection, schema, f"checked where not ({bad})"),
    )


def _reason(item: Check, schema: Schema, columns: Mapping[str, str]) -> str:
    """SQL for why a row is set aside: the check's name, and which values did not fit their type."""
    if item.rule != "typed":
        return text(item.name)
    each = ", ".join(
        f"case when {sql} then {text(f'{c} is not {schema[c]}: ')} || i.{ident(c)}::varchar end"
        for c, sql in lost_values(schema, columns).items()
    )
    return f"concat_ws('; ', {each})"


def profile_of(connection: duckdb.DuckDBPyConnection, schema: Schema, relation: str) -> dict[str, ColumnProfile]:
    """What is seen of each column of a relation."""
    parts = []
    for column, kind in schema.items():
        c = ident(column)
        size = f"max(abs({c})) filter (isfinite({c}))" if kind is Type.FLOAT64 else "null::double"
        if kind is Type.INT64:
            size = f"greatest(abs(max({c})::double), abs(min({c})::double))"
        least, greatest = (f"min({c})::varchar", f"max({c})::varchar")
        parts.append(f"count(*) - count({c}), {least}, {greatest}, {size}, approx_count_distinct({c})")
    row = only(connection, f"select {', '.join(parts)} from {relation}")
    return {c: ColumnProfile(*row[i * 5 : i * 5 + 5]) for i, c in enumerate(schema)}
