"""Views are derived from tables: part by part where the SQL treats each row alone, else as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb

from fivefold.core.canonical import digest
from fivefold.core.errors import Invalid
from fivefold.core.lineage import row_wise, tables_used
from fivefold.core.noun import noun_digest
from fivefold.core.sources import View
from fivefold.core.types import Schema
from fivefold.data.duck import as_schema, described, empty_table, first_line, ident, parquet
from fivefold.data.ingest import Places, Progress
from fivefold.data.snapshots import Part, Snapshot, part_file
from fivefold.data.take import Incoming, take


def view_schema(connection: duckdb.DuckDBPyConnection, view: View, schemas: Mapping[str, Schema]) -> Schema:
    """The columns a view will have, found by binding its SQL over empty tables.

    Raises Invalid with DuckDB's own words (which name the column and its neighbours) when the SQL does not bind.
    """
    for table in tables_used(view.sql, view.ref):
        empty_table(connection, table, schemas[table])
    try:
        columns = described(connection, f"({view.sql})")
    except duckdb.Error as e:
        raise Invalid(f"{view.ref}: {_said(e)}") from None
    finally:
        for table in tables_used(view.sql, view.ref):
            connection.execute(f"drop table if exists {ident(table)}")
    return as_schema(columns, view.ref)


def _said(error: duckdb.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(("LINE", "^"))]
    return " ".join(lines) or first_line(error)


def derive(
    connection: duckdb.DuckDBPyConnection,
    view: View,
    inputs: Mapping[str, Snapshot],
    places: Places,
    *,
    now: int,
    before: Snapshot | None = None,
    ranges: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Derive what changed of a view since `before`.

    Parts are keyed by the view's definition and the digests of what they are made of, so nothing is derived twice.
    """
    names = tables_used(view.sql, view.ref)
    schema = view_schema(connection, view, {n: inputs[n].schema for n in names})
    kept = {p.fingerprint: p for p in before.parts} if before and dict(before.schema) == dict(schema) else {}
    parts: list[Part] = []
    pieces = list(_pieces(view, names, inputs))
    for done, (piece, main, key) in enumerate(pieces):
        known = kept.get(key)
        if known is not None and part_file(places.tables, view.name, known.digest).exists():
            parts.append(known)
            continue
        for name in names:
            files = (
                [part_file(places.tables, name, main.digest)]
                if main and name == pieces_of(view)
                else inputs[name].files(places.tables)
            )
            connection.execute(f"create or replace view {ident(name)} as select * from {parquet(files)}")
        connection.execute(f"create or replace temp table derived as {view.sql}")
        rows = Incoming("derived", described(connection, "derived"), piece, key)
        others = [part_file(places.tables, view.name, p.digest) for p in parts]
        parts.append(take(connection, view, schema, rows, places.tables, now=now, others=others, ranges=ranges or {}))
        for name in names:
            connection.execute(f"drop view {ident(name)}")
        if progress:
            progress(view.ref, done + 1, len(pieces))
    return Snapshot(view.name, schema, tuple(parts))


def pieces_of(view: View) -> str | None:
    """The table whose partitions a view follows, or None when it is derived as a whole.

    A check across rows of all partitions does not hinder: `unique` looks into the parts taken before.
    """
    return row_wise(view.sql, view.ref)


def _pieces(view: View, names: Iterable[str], inputs: Mapping[str, Snapshot]) -> Iterable[tuple[str, Part | None, str]]:
    main = pieces_of(view)
    others = {n: inputs[n].digest for n in names if n != main}
    if main is None:
        yield "all", None, digest("derived", {"noun": noun_digest(view), "inputs": others})
        return
    for part in inputs[main].parts:
        yield part.name, part, digest("derived", {"noun": noun_digest(view), "inputs": others, "part": part.digest})
