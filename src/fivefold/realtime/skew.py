"""Was what was served what history says? Logged predictions are computed again from archived rows alone."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fivefold.core.features import FeatureView, chosen
from fivefold.core.sources import Stream, rows_of
from fivefold.core.time import moment
from fivefold.core.types import Type
from fivefold.data.archive import OFFSET, archived
from fivefold.data.parts import arrow_schema
from fivefold.data.snapshots import Snapshot, part_file, stretch_of
from fivefold.features.asof import as_of
from fivefold.features.lookup import Seen
from fivefold.features.materialise import key_types, view_plan
from fivefold.realtime.archiving import archive
from fivefold.workspace import Workspace
from fivefold.workspace.events import standing_of, stored_events
from fivefold.workspace.predictions import LOOKUPS, Prediction, newest_predictions
from fivefold.workspace.served import Meaning, meaning

_MOMENT, _ROW = "__moment", "__row"
_EXAMPLES = 3


class Difference(msgspec.Struct, frozen=True):
    """A value that was served and is another in history."""

    prediction: str
    entity: dict[str, Any]
    as_of: str
    served: Any
    served_event: str | None
    history: Any
    history_event: str | None


class Feature(msgspec.Struct):
    """How many values of a feature were compared, how many differ, and the first of those."""

    name: str
    compared: int = 0
    differ: int = 0
    examples: list[Difference] = []

    @property
    def rate(self) -> float:
        """The share that differs."""
        return self.differ / self.compared if self.compared else 0.0


class Skew(msgspec.Struct, frozen=True):
    """A skew report. `left_out` counts predictions that could not be computed again, by reason."""

    predictions: int
    compared: int
    differ: int
    features: list[Feature]
    left_out: Mapping[str, int]


class _Asked(msgspec.Struct, frozen=True):
    prediction: Prediction
    view: FeatureView
    names: tuple[str, ...]
    meaning: Meaning


def skew(workspace: Workspace, *, sample: int = 1000, newest: int = 20_000, endpoint: str = "", seed: int = 0) -> Skew:
    """Compare `sample` of the `newest` logged predictions, feature by feature, bit by bit, with their event times.

    Logged look-ups of features are taken for predictions, of no endpoint.

    Each is computed from the snapshot that its view's past was made of and the archived events up to the offsets that
    had been applied when it was served; the online store is not read. What is applied is archived first.
    """
    _archive(workspace)
    logged = [*newest_predictions(workspace.state, newest), *newest_predictions(workspace.state, newest, LOOKUPS)]
    found = [p for p in logged if not endpoint or p.endpoint == endpoint]
    picked = random.Random(seed).sample(found, min(sample, len(found)))
    left_out: dict[str, int] = {}
    features: dict[str, Feature] = {}
    with workspace.database() as connection:
        for seen, asked in _grouped(_asked(workspace, picked, left_out)):
            _compare(workspace, connection, seen, asked, features, left_out)
    ordered = [features[name] for name in sorted(features)]
    return Skew(len(picked), sum(f.compared for f in ordered), sum(f.differ for f in ordered), ordered, left_out)


def _archive(workspace: Workspace) -> None:
    for stream in workspace.project.of(Stream.kind):
        assert isinstance(stream, Stream)
        store, broker = workspace.online(), workspace.broker(stream)
        try:
            archive(workspace, stream, store, broker.partitions())
        finally:
            broker.close()
            store.close()


def _asked(
    workspace: Workspace, picked: Iterable[Prediction], left_out: dict[str, int]
) -> Iterator[tuple[Seen, _Asked]]:
    """Each view of each prediction that has one, with the rows it was made of."""
    meanings: dict[tuple[str, int], Meaning] = {}
    for one in picked:
        version = (one.model, one.version)
        if version not in meanings:
            meanings[version] = (
                meaning(workspace, workspace.catalog.versions.get(*version)) if one.version else _present(workspace)
            )
        used = meanings[version]
        for view in used.views:
            seen = one.seen.get(view.name)
            names = tuple(n for n in chosen([view]) if n in one.features)
            if not names:
                continue
            if seen is None:
                reason = f"no values of {view.name} were materialised"
                left_out[reason] = left_out.get(reason, 0) + 1
            elif seen.space != used.online_name(view):
                reason = f"{view.name} meant something else when it was looked up"
                left_out[reason] = left_out.get(reason, 0) + 1
            else:
                yield seen, _Asked(one, view, names, used)


def _present(workspace: Workspace) -> Meaning:
    """What the project file means now."""
    found = [workspace.find_snapshot(n.name) for n in workspace.project.of("table", "view")]
    return Meaning(workspace.project, {s.source: s.schema for s in found if s is not None}, workspace.scales())


def _grouped(asked: Iterable[tuple[Seen, _Asked]]) -> Iterator[tuple[Seen, list[_Asked]]]:
    """Those together that are the same features, made of the same rows."""
    groups: dict[tuple[Any, ...], tuple[Seen, list[_Asked]]] = {}
    for seen, one in asked:
        key = (seen.space, seen.snapshot, tuple(sorted(seen.applied.items())), seen.pending, one.names)
        groups.setdefault(key, (seen, []))[1].append(one)
    # those of one snapshot one after the other
    yield from (groups[key] for key in sorted(groups))


def _compare(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    seen: Seen,
    asked: Sequence[_Asked],
    features: dict[str, Feature],
    left_out: dict[str, int],
) -> None:
    view, used = asked[0].view, asked[0].meaning
    keys = tuple(view.entity.key)
    kinds = key_types(view, used.schemas)
    rows = _rows(workspace, view, seen, {k: [a.prediction.row.get(k) for a in asked] for k in keys}, kinds)
    if isinstance(rows, str):
        left_out[rows] = left_out.get(rows, 0) + len(asked)
        return
    schema = arrow_schema(dict(zip(keys, kinds, strict=True)))
    spine = pa.table(
        {
            **{k: pa.array([a.prediction.row.get(k) for a in asked], schema.field(k).type) for k in keys},
            _MOMENT: pa.array([a.prediction.as_of for a in asked], pa.int64()),
        }
    )
    connection.register("rows_seen", rows)
    plan = view_plan(view, used.schemas, used.scales, lambda name: "rows_seen")
    found = as_of(spine, _MOMENT, [plan], connection=connection, event_times=True, threads=workspace.env.threads)
    connection.unregister("rows_seen")
    for name in asked[0].names:
        feature = features.setdefault(name, Feature(name))
        values, times = _plain(found[name]), _plain(found[f"{name}__time"])
        for one, value, time in zip(asked, values, times, strict=True):
            served, event, _ = one.prediction.features[name]
            feature.compared += 1
            if not _same(served, value) or event != time:
                feature.differ += 1
                if len(feature.examples) < _EXAMPLES:
                    feature.examples = [*feature.examples, _difference(one, keys, name, value, time)]


def _difference(one: _Asked, keys: Sequence[str], name: str, value: Any, time: int | None) -> Difference:
    prediction = one.prediction
    served, event, _ = prediction.features[name]
    return Difference(
        prediction.id,
        {k: prediction.row.get(k) for k in keys},
        moment(prediction.as_of),
        served,
        None if event is None else moment(event),
        value,
        None if time is None else moment(time),
    )


def _rows(
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
    identity = view.source.id
    if identity is not None and filters is not None:
        # what makes one of these rows a duplicate may be of another entity
        found = [_read(file, _both(filters, more), first).select([identity]) for file, more, first in parts]
        ids = pa.concat_tables(found)[identity].drop_null().unique() if found else pa.array([])
        filters |= pc.field(identity).isin(ids)
    tables = [_as(_read(file, _both(filters, more), first), schema) for file, more, first in parts]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _read(file: Path, filters: pc.Expression | None, first: int | None) -> pa.Table:
    """The rows of a file that pass, of its `first` ones only when that is not None."""
    if first is None:
        return pq.read_table(file, filters=filters)
    table = pq.read_table(file)[:first]
    return table if filters is None else table.filter(filters)


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


def _plain(column: pa.ChunkedArray) -> list[Any]:
    return list((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


def _same(a: Any, b: Any) -> bool:
    """Equal to the last bit; the log is JSON, where a float may have become a whole number."""
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and struct.pack("<d", a) == struct.pack("<d", b)
    return type(a) is type(b) and bool(a == b)
