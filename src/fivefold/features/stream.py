"""Events of a stream partition into the states of a view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import pyarrow as pa

from fivefold.core.features import FeatureView
from fivefold.core.types import Schema, Type
from fivefold.features.compile import Scales
from fivefold.features.entity_keys import key_reader
from fivefold.features.kernel.fixed import LIMIT
from fivefold.features.kernel.plan import FIXED_POINT
from fivefold.features.kernel.sources import KEYS, SEQ, TIME, VALUE
from fivefold.features.materialise import key_types, state_view, view_plan
from fivefold.features.state.apply import applied
from fivefold.features.state.incoming import incoming
from fivefold.features.state.key import View
from fivefold.features.state.mark import Mark, partition_space, read_mark, write_mark
from fivefold.ports.online import MARK, OnlineStore, Write


class Fed(msgspec.Struct, frozen=True, eq=False):
    """A view in use that a stream feeds: its name in the store, with its meaning, and how its states are kept."""

    name: str
    view: FeatureView
    kept: View
    key: Callable[[Sequence[object]], bytes | None]
    without_past: Callable[[Mark, pa.Table], pa.Table]
    """Leaves out the events that the snapshot of a mark holds already, though no stream brought them."""

    def limits(self) -> dict[str, float]:
        """By column, the size from which on a value cannot be summed exactly."""
        out: dict[str, float] = {}
        for a in self.kept.source.aggregates:
            if a.fn in FIXED_POINT and a.column is not None and a.type is not Type.BOOL:
                # half a unit below it, a float is rounded up to the limit
                limit = (LIMIT - 0.5) * 2.0 ** -(a.scale or 0) if a.type is Type.FLOAT64 else float(LIMIT)
                out[a.column] = min(limit, out.get(a.column, limit))
        return out


def fed(
    name: str,
    view: FeatureView,
    schemas: Mapping[str, Schema],
    scales: Scales,
    without_past: Callable[[Mark, pa.Table], pa.Table],
) -> Fed:
    """A view as a stream feeds it."""
    kept = state_view(view_plan(view, schemas, scales), view, schemas)
    return Fed(name, view, kept, key_reader(key_types(view, schemas)), without_past)


def feed(
    store: OnlineStore, one: Fed, past: Mark, partition: int, raw: bytes | None, now: Mark, events: pa.Table | None
) -> Write:
    """What a partition's space of a view becomes with some events more.

    `past` is the view's own mark, `raw` the mark of the partition as it is, `now` what it will be. `events` have the
    stream's columns, times as timestamps; None where there are none.
    """
    space = partition_space(one.name, past, partition)
    items: list[tuple[bytes, bytes | None]] = []
    if events is not None and events.num_rows:
        events = one.without_past(past, events)
    if events is not None and events.num_rows:
        new = incoming(one.kept, _canonical(one, events), one.key)
        items = applied(
            one.kept,
            new.keys,
            new.entity,
            new.rows,
            now.since,
            lambda keys: store.get([(space, key) for key in keys]),
        )
    return Write(space, items, write_mark(now), raw)


def catch_up(
    store: OnlineStore, one: Fed, past: Mark, partition: int, batches: Iterable[tuple[int, int, pa.Table]]
) -> int:
    """Bring a partition's space of a view up to date with the events behind what it holds; returns up to which offset.

    `batches` are (last offset, horizon, events), in order. Each is one commit. Raises Conflict when somebody else
    writes to the space meanwhile.
    """
    space = partition_space(one.name, past, partition)
    (raw,) = store.get([(space, MARK)])
    held = read_mark(raw) if raw is not None else Mark(past.since, past.made_of, applied=past.cut.get(partition, -1))
    for last, horizon, events in batches:
        if last <= held.applied:
            continue
        now = Mark(max(held.since, horizon), past.made_of, applied=last)
        write = feed(store, one, past, partition, raw, now, events)
        store.commit([write])
        raw, held = write.mark, now
    return held.applied


def _canonical(one: Fed, events: pa.Table) -> pa.Table:
    """The columns of events as `kernel.sources` names and types them."""
    source = one.kept.source

    def read(column: str) -> pa.ChunkedArray:
        found = events.column(column)
        return found.cast(pa.int64()) if pa.types.is_timestamp(found.type) else found

    columns = {f"{KEYS}{n}": read(key) for n, key in enumerate(source.keys)}
    columns[TIME] = read(source.time)
    if source.seq is not None:
        columns[SEQ] = read(source.seq)
    for n, (column, kind) in enumerate(source.columns):
        found = read(column)
        # history may hold as float what the stream declares whole: the feature is of history's type
        # (rounded to the nearest, as there, where a float cannot hold it)
        columns[f"{VALUE}{n}"] = found.cast(pa.float64(), safe=False) if kind is Type.FLOAT64 else found
    return pa.table(columns)
