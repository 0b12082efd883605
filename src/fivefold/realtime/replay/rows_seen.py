"""The rows that the values of a view were made of when served: of a snapshot, and of the archive up to an offset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fivefold.core.features import FeatureView
from fivefold.core.sources import Stream, rows_of
from fivefold.core.types import Type
from fivefold.data.archive import OFFSET, archived
from fivefold.data.parts import arrow_schema
from fivefold.data.snapshots import Snapshot, part_file, stretch_of
from fivefold.features.lookup import Seen
from fivefold.workspace import Workspace
from fivefold.workspace.events import standing_of, stored_events


def rows_seen(
    workspace: Workspace, view: FeatureView, seen: Seen, keys: Mapping[str, list[Any]], kinds: Sequence[Type]
) -> pa.Table | str:
    """The rows of the entities asked for that had been seen, in source order; or why they cannot be had."""
    source = rows_of(view.source)
    past = msgspec.convert(workspace.catalog.snapshots.get(source.name, seen.snapshot).parts, Snapshot)
    files = past.files(workspace.places.tables)
    schema = arrow_schema(past.schema)
    filters = None
    for (key, values), kind in zip(keys.items(), kinds, strict=True):
        one = pc.field(key).isin(pa.array([v for v in set(values) if v is not None], schema.field(key).type))
        filters = one if filters is None else filters & one
        assert kind is not Type.FLOAT64, "no entity has a float for a key"
    # a file at a time, and what is read of it: the order of rows is the order of the parts
    parts: list[tuple[Path, pc.Expression | None, int | None]] = []
    partly = dict(seen.pending)
    parts += [(file, None, partly.get(place)) for place, file in enumerate(files)]
    stream = view.source
    if isinstance(stream, Stream):
        cut = archived(past, stream.name)
        kept = workspace.find_snapshot(stream.name)
        reached = archived(kept, stream.name)
        for partition, applied in seen.applied.items():
            if applied > max(reached.get(partition, -1), cut.get(partition, -1)) and not _passed(
                workspace, stream, partition, applied
            ):
                return f"events of {stream.name} that were applied are not archived yet"
        for part in kept.parts if kept else ():
            at = stretch_of(part)
            assert at is not None
            low, high = cut.get(at.partition, -1), seen.applied.get(at.partition, -1)
            if at.last > low and at.first <= high:
                file = part_file(workspace.places.tables, stream.name, part.digest)
                parts.append((file, (pc.field(OFFSET) > low) & (pc.field(OFFSET) <= high), None))
    rows = _read_all(parts, filters, schema)
    identity = view.source.id
    if identity is None or filters is None:
        return rows
    # what makes one of these rows a duplicate may be of another entity; it seldom is, and looking for it is quick
    others = [_read(file, _both(~filters, more), first, [identity])[identity] for file, more, first in parts]
    ids = rows[identity].drop_null().unique()
    if any(pc.any(pc.is_in(column, value_set=ids.cast(column.type))).as_py() for column in others if len(column)):
        return _read_all(parts, filters | pc.field(identity).isin(ids), schema)
    return rows


def _read_all(
    parts: Sequence[tuple[Path, pc.Expression | None, int | None]], filters: pc.Expression | None, schema: pa.Schema
) -> pa.Table:
    tables = [_as(_read(file, _both(filters, more), first), schema) for file, more, first in parts]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _read(
    file: Path, filters: pc.Expression | None, first: int | None, columns: Sequence[str] | None = None
) -> pa.Table:
    """The rows of a file that pass, of its `first` ones only when that is not None; all columns, or some."""
    if first is None:
        return pq.read_table(file, filters=filters, columns=columns)
    table = pq.read_table(file)[:first]
    table = table if filters is None else table.filter(filters)
    return table if columns is None else table.select(columns)


def _both(one: pc.Expression | None, other: pc.Expression | None) -> pc.Expression | None:
    return one & other if one is not None and other is not None else one if other is None else other


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of a schema; what it does not have is null."""
    columns = [
        table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(len(table), f.type) for f in schema
    ]
    return pa.table(columns, schema=schema)


def _passed(workspace: Workspace, stream: Stream, partition: int, applied: int) -> bool:
    """Whether there was no event to archive up to an offset: all behind the archive were dead letters or duplicates."""
    store = workspace.online()
    try:
        standing = standing_of(store, stream.name, partition)
        if standing is None or standing.applied < applied:
            return False
        return all(stored.first > applied for _, stored, _ in stored_events(store, stream.name, partition, -1))
    finally:
        store.close()
