"""Feature values as of a moment, for every entity, into the online store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import duckdb
import msgspec
import pyarrow as pa

from fivefold.core.canonical import digest
from fivefold.core.features import FeatureView
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.features.asof import as_of
from fivefold.features.compile import Relation, Scales, sources
from fivefold.features.entity_keys import key_reader
from fivefold.ports.online import MARK, OnlineStore

MOMENT = "__moment"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a view's values were made of: as of `at` (microseconds UTC), `made_of` the digest of all inputs."""

    at: int
    made_of: str
    names: tuple[str, ...]
    entities: int


class Materialised(msgspec.Struct, frozen=True):
    """What a materialisation came to; `new` is False when the store held just this already."""

    view: str
    entities: int
    at: int
    new: bool


_write = msgspec.msgpack.Encoder().encode
read_mark = msgspec.msgpack.Decoder(Mark).decode


def mark_of(store: OnlineStore, name: str) -> Mark | None:
    """What the values of a view, under its name in the store, were made of."""
    (found,) = store.get([(name, MARK)])
    return read_mark(found) if found is not None else None


def materialise(
    connection: duckdb.DuckDBPyConnection,
    store: OnlineStore,
    name: str,
    view: FeatureView,
    *,
    at: int,
    meaning: str,
    snapshot: str,
    schemas: Mapping[str, Schema],
    scales: Scales,
    relation: Relation,
    threads: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Materialised:
    """Put the values of a view as of `at` into the store under `name`, all in one transaction.

    The same kernel as in history computes them. `meaning` is the view's closure digest and `snapshot` that of its
    source: when the store holds values made of the same at the same moment, nothing is done.
    """
    rows = rows_of(view.source)
    made_of = digest(
        "materialised",
        {"view": meaning, "snapshot": snapshot, "at": str(at), "scales": dict(scales.get(rows.name, {}))},
    )
    held = mark_of(store, name)
    if held is not None and held.made_of == made_of:
        return Materialised(view.name, held.entities, at, new=False)
    (plan,) = sources([view], schemas, scales, relation)
    keys = ", ".join(f'"{k}"' for k in view.entity.key)
    there = " and ".join(f'"{k}" is not null' for k in view.entity.key)
    spine = connection.sql(
        f"select distinct {keys}, make_timestamp({at}::bigint) as {MOMENT} from {relation(rows.name)} where {there}"
    ).to_arrow_table()
    table = as_of(spine, MOMENT, [plan], connection=connection, threads=threads, event_times=True, progress=progress)
    names = tuple(a.name for a in plan.aggregates)
    types = [schemas[rows.name][k] for k in view.entity.key]
    items = list(_items(table, tuple(view.entity.key), types, names))
    store.replace(name, items, _write(Mark(at, made_of, names, len(items))))
    return Materialised(view.name, len(items), at, new=True)


def _items(
    table: pa.Table, keys: tuple[str, ...], types: list[Type], names: tuple[str, ...]
) -> Iterator[tuple[bytes, bytes]]:
    """Key and `[values, event times]` of each entity that has any row in view."""
    read = key_reader(types)
    columns = [_plain(table[k]) for k in keys]
    values = [_plain(table[n]) for n in names]
    times = [_plain(table[f"{n}__time"]) for n in names]
    for key, value, time in zip(
        zip(*columns, strict=True), zip(*values, strict=True), zip(*times, strict=True), strict=True
    ):
        if any(t is not None for t in time):
            encoded = read(key)
            assert encoded is not None
            yield encoded, _write((value, time))


def _plain(column: pa.ChunkedArray) -> list[object]:
    """Python values; instants as microseconds."""
    return list((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())
