"""A stream's applied events as Parquet parts: kept as they arrived, and as partitions of the stream's history.

The archive of a stream is a snapshot under the stream's own name, whose rows also say at which offset and when they
came. A part of it is made into a part of the history's snapshot, with the history's columns: what the stream does not
carry is null. The parts of both say in their names from which partition and offsets they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from fivefold.core.canonical import digest
from fivefold.core.sources import Stream
from fivefold.core.types import Schema, Type, duckdb_name
from fivefold.data.duck import ident, parquet
from fivefold.data.ingest import Places
from fivefold.data.parts import ROW_GROUP, arrow_schema, write_part
from fivefold.data.snapshots import Part, Snapshot, Stretch, part_file, stretch_of
from fivefold.data.take import profile_of

OFFSET, ARRIVED = "__offset", "__arrived"


def archive_schema(stream: Stream) -> dict[str, Type]:
    """The columns of a stream's archive: its own, then offset and arrival."""
    return {**stream.schema, OFFSET: Type.INT64, ARRIVED: Type.TIMESTAMP}


def archived(snapshot: Snapshot | None, stream: str) -> dict[int, int]:
    """By partition, up to which offset a snapshot (of an archive or a history) holds the stream's events."""
    out: dict[int, int] = {}
    for part in snapshot.parts if snapshot else ():
        at = stretch_of(part)
        if at is not None and at.stream == stream:
            out[at.partition] = max(out.get(at.partition, -1), at.last)
    return out


def add_to_archive(
    connection: duckdb.DuckDBPyConnection,
    stream: Stream,
    before: Snapshot | None,
    rows: Mapping[int, tuple[Stretch, pa.Table]],
    places: Places,
) -> Snapshot:
    """The archive with one part more for each partition; `rows` have the archive's columns, in order of offset."""
    schema = archive_schema(stream)
    parts = list(before.parts) if before else []
    for _, (stretch, table) in sorted(rows.items()):
        key = digest("archived", {"name": stretch.name})
        parts.append(_write(connection, table.to_reader(), schema, stream.name, stretch.name, key, places))
    return Snapshot(stream.name, schema, tuple(parts))


def with_archives(
    connection: duckdb.DuckDBPyConnection,
    made: Snapshot,
    archives: Sequence[Snapshot],
    before: Snapshot | None,
    places: Places,
) -> Snapshot:
    """A history's snapshot with what its streams brought, behind what it held without them."""
    own = tuple(p for p in made.parts if stretch_of(p) is None)
    known = {p.fingerprint: p for p in (*made.parts, *(before.parts if before else ()))}
    columns = {c: k.value for c, k in made.schema.items()}
    parts = []
    for archive in archives:
        for part in archive.parts:
            key = digest("archived", {"part": part.digest, "schema": columns})
            held = known.get(key)
            if held is None or not part_file(places.tables, made.source, held.digest).exists():
                selected = ", ".join(
                    f"{ident(c) if c in archive.schema else 'null'}::{duckdb_name(k)} as {ident(c)}"
                    for c, k in made.schema.items()
                )
                file = part_file(places.tables, archive.source, part.digest)
                reader = connection.sql(f"select {selected} from {parquet([file])}").to_arrow_reader(ROW_GROUP)
                held = _write(connection, reader, made.schema, made.source, part.name, key, places)
            parts.append(held)
    return Snapshot(made.source, made.schema, (*own, *parts))


def archive_table(stream: Stream, columns: Sequence[Sequence[object]]) -> pa.Table:
    """Rows of an archive of their columns, offset and arrival among them; times are microseconds."""
    schema = arrow_schema(archive_schema(stream))
    arrays = []
    for values, field in zip(columns, schema, strict=True):
        is_time = pa.types.is_timestamp(field.type)
        arrays.append(pa.array(values, pa.int64()).cast(field.type) if is_time else pa.array(values, field.type))
    return pa.table(arrays, schema=schema)


def _write(
    connection: duckdb.DuckDBPyConnection,
    reader: pa.RecordBatchReader,
    schema: Schema,
    source: str,
    name: str,
    fingerprint: str,
    places: Places,
) -> Part:
    made, count, size = write_part(reader, schema, places.tables, source)
    profile = profile_of(connection, schema, parquet([part_file(places.tables, source, made)]))
    return Part(name, fingerprint, made, count, size, profile=profile)
