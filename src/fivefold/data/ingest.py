"""Tables are read partition by partition; only partitions that changed are read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import msgspec

from fivefold.core.canonical import digest
from fivefold.core.errors import Invalid, NotFound
from fivefold.core.noun import noun_digest
from fivefold.core.sources import Table
from fivefold.core.types import Schema, Type
from fivefold.data.duck import as_schema, described, first_line, text
from fivefold.data.snapshots import Part, Snapshot, part_file, stretch_of
from fivefold.data.take import Incoming, take
from fivefold.ports.tables import Partition, TableReader

SAMPLE_EVERYTHING_BELOW = 1 << 30
"""Bytes up to which every row of a CSV is looked at to tell its types; above it the first million of each file."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and how much there is."""


class Places(msgspec.Struct, frozen=True):
    """Folders a workspace keeps data in: its tables, and scratch space that may be emptied at any time."""

    tables: Path
    scratch: Path


def ingest(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    reader: TableReader,
    places: Places,
    *,
    now: int,
    schema: Schema | None = None,
    before: Snapshot | None = None,
    ranges: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """Read the partitions of a table that are new or changed since `before`; take the rest as they were.

    `ranges` gives, by column, the magnitude from which on a value cannot be summed exactly: its row is quarantined.
    Raises Invalid when a check with `on_fail="fail"` is broken; then nothing of the table is taken.
    """
    partitions = reader.partitions()
    if schema is None:
        schema = table_schema(connection, table, reader, places, before=before, partitions=partitions)
    kept = {p.fingerprint: p for p in before.parts} if before and dict(before.schema) == dict(schema) else {}
    rules = _rules(table, schema)
    parts: list[Part] = []
    for done, partition in enumerate(partitions):
        fingerprint = _fingerprint(partition, rules)
        known = kept.get(fingerprint)
        if known is not None and part_file(places.tables, table.name, known.digest).exists():
            parts.append(known)
        else:
            path = reader.fetch(partition, places.scratch)
            relation = file_relation(table, path)
            others = [part_file(places.tables, table.name, p.digest) for p in parts]
            try:
                rows = Incoming(relation, described(connection, relation), partition.name, fingerprint)
                parts.append(
                    take(connection, table, schema, rows, places.tables, now=now, others=others, ranges=ranges or {})
                )
            except duckdb.InvalidInputException as e:
                raise _unreadable(table, partition.name, e) from None
        if progress:
            progress(table.ref, done + 1, len(partitions))
    return Snapshot(table.name, schema, tuple(parts))


def _rules(table: Table, schema: Schema) -> str:
    return digest("ingest", {"noun": noun_digest(table), "schema": {c: k.value for c, k in schema.items()}})


def _fingerprint(partition: Partition, rules: str) -> str:
    """From what, and under which declaration, a part is made."""
    return digest("partition", {"name": partition.name, "content": partition.fingerprint, "rules": rules})


def new_partitions(table: Table, reader: TableReader, schema: Schema, before: Snapshot | None) -> tuple[int, int]:
    """How many partitions `ingest` would read, and how many it would drop, without reading any."""
    rules = _rules(table, schema)
    there = {_fingerprint(p, rules) for p in reader.partitions()}
    known = {p.fingerprint for p in before.parts if stretch_of(p) is None} if before else set()
    return len(there - known), len(known - there)


def table_schema(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    reader: TableReader,
    places: Places,
    *,
    before: Snapshot | None,
    partitions: list[Partition] | None = None,
) -> Schema:
    """The types chosen when the table was first read, else what the data says now; declared ones hold over both."""
    if before is not None and set(table.schema or {}) <= set(before.schema):
        return {**before.schema, **(table.schema or {})}
    partitions = partitions or reader.partitions()
    paths = [reader.fetch(p, places.scratch) for p in partitions]
    try:
        found = _found_types(connection, table, paths, [p.name for p in partitions])
    except duckdb.Error as e:
        raise _unreadable(table, ", ".join(p.name for p in partitions[:3]), e) from None
    for column, kind in (table.schema or {}).items():
        if column not in found:
            raise NotFound.named(f"column of {table.ref} for schema=:", column, found)
        found[column] = kind
    return found


def _unreadable(table: Table, name: str, error: duckdb.Error) -> Invalid:
    """What DuckDB says of a file it cannot read, with the usual causes."""
    if kind_of(table, Path(name)) != "csv":
        return Invalid(f"{table.ref}: cannot read {name}: {first_line(error)}")
    return Invalid(
        f"{table.ref}: cannot read {name}: {first_line(error)}",
        hint="A CSV file is UTF-8, has a header, one kind of line ending and as many values in each line.",
    )


def _found_types(
    connection: duckdb.DuckDBPyConnection, table: Table, paths: Sequence[Path], names: Sequence[str]
) -> dict[str, Type]:
    """The types that the data itself shows."""
    everything = sum(p.stat().st_size for p in paths) <= SAMPLE_EVERYTHING_BELOW
    found: dict[str, Type] = {}
    if kind_of(table, paths[0]) == "csv":
        listed = ", ".join(text(str(p)) for p in paths)
        sample = -1 if everything else 1_000_000
        relation = f"read_csv([{listed}], {_csv(table)}, sample_size={sample}, union_by_name=true)"
        return as_schema(described(connection, relation), table.ref)
    for path, name in zip(paths, names, strict=True):
        for column, kind in as_schema(described(connection, file_relation(table, path)), table.ref).items():
            if found.setdefault(column, kind) is not kind:
                if {found[column], kind} == {Type.INT64, Type.FLOAT64}:
                    found[column] = Type.FLOAT64
                    continue
                raise Invalid(
                    f"{table.ref}: column {column!r} is {found[column]} in {names[0]}, but {kind} in {name}.",
                    hint=f"Declare schema={{{column!r}: ...}} with the type you mean.",
                )
    return found


def kind_of(table: Table, path: Path) -> str:
    """`parquet`, `csv` or `json`. Raises Invalid for another ending when the table names no format."""
    if table.format is not None:
        known = table.format.lower()
    else:
        ending = "".join(s for s in path.suffixes[-2:] if s not in (".gz", ".zst")).lower()
        known = {
            "parquet": "parquet",
            "pq": "parquet",
            "csv": "csv",
            "tsv": "csv",
            "json": "json",
            "jsonl": "json",
            "ndjson": "json",
        }.get(ending.rsplit(".", 1)[-1], ending)
    if known not in ("parquet", "csv", "json"):
        raise Invalid(
            f"{table.ref}: cannot tell the format of {path.name} (known: parquet, csv, json).",
            hint="Declare format= on the table.",
        )
    return known


def file_relation(table: Table, path: Path) -> str:
    """The rows of one file, as it is: CSV values stay text, so that one that does not fit its type can be shown."""
    kind = kind_of(table, path)
    if kind == "parquet":
        return f"read_parquet({text(str(path))})"
    if kind == "json":
        return f"read_json({text(str(path))})"
    return f"read_csv({text(str(path))}, {_csv(table)}, all_varchar=true)"


def _csv(table: Table) -> str:
    nulls = ", ".join(text(n) for n in table.nulls)
    return f"header=true, nullstr=[{nulls}], null_padding=false"


def schemas_of(snapshots: Mapping[str, Snapshot]) -> dict[str, Schema]:
    """Schemas by source name."""
    return {name: s.schema for name, s in snapshots.items()}
