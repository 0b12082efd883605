"""The past of a feature view, for every entity, into the online store: as states that answer every later moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import duckdb
import msgspec

from fivefold.core.canonical import digest
from fivefold.core.errors import Conflict
from fivefold.core.features import FeatureView
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.features.compile import Relation, Scales, sources
from fivefold.features.entity_keys import key_reader
from fivefold.features.kernel.plan import Source
from fivefold.features.kernel.relation import Engine
from fivefold.features.kernel.sources import Stored, counted
from fivefold.features.state.apply import applied
from fivefold.features.state.incoming import incoming
from fivefold.features.state.key import View
from fivefold.features.state.mark import Mark, mark_of, past_space, read_mark, view_of, with_partitions, write_mark
from fivefold.ports.online import MARK, OnlineStore, Write

MEMORY = 1 << 30


class Materialised(msgspec.Struct, frozen=True):
    """What a materialisation came to; `new` is False when the store held just this already."""

    view: str
    entities: int
    at: int
    new: bool


class Cut(msgspec.Struct, frozen=True):
    """Where a stream goes on from a snapshot: by partition, the last offset whose event the snapshot holds."""

    stream: str
    offsets: Mapping[int, int]


def view_plan(
    view: FeatureView, schemas: Mapping[str, Schema], scales: Scales, relation: Relation = lambda name: name
) -> Source:
    """What the as-of join is asked for all features of a view."""
    (plan,) = sources([view], schemas, scales, relation)
    return plan


def state_view(plan: Source, view: FeatureView, schemas: Mapping[str, Schema]) -> View:
    """How the states of a view are kept."""
    return View(plan, schemas[rows_of(view.source).name][plan.seq] if plan.seq else None)


def key_types(view: FeatureView, schemas: Mapping[str, Schema]) -> list[Type]:
    """The types of the view's entity keys, in order."""
    return [schemas[rows_of(view.source).name][k] for k in view.entity.key]


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
    cut: Cut | None = None,
    before_switch: Callable[[Mark], None] | None = None,
    threads: int = 2,
    memory: int = MEMORY,
    progress: Callable[[str, int, int], None] | None = None,
) -> Materialised:
    """Put the states of a view, made for queries from `at` on, into the store under `name`, all in one transaction.

    `meaning` is the view's closure digest and `snapshot` that of its source: when the store holds states made of the
    same at the same moment, nothing is done. For a view fed by a stream, `cut` says where the stream goes on, and
    `before_switch` is called when the new generation is there and before it takes the place of the one in use.
    """
    made_of = digest(
        "materialised",
        {
            "view": meaning,
            "snapshot": snapshot,
            "at": str(at),
            "scales": dict(scales.get(rows_of(view.source).name, {})),
            "cut": {str(p): str(o) for p, o in (cut.offsets if cut else {}).items()},
        },
    )
    held = mark_of(store, name)
    if held is not None and held.made_of == made_of:
        return Materialised(view.name, held.entities, at, new=False)
    plan = view_plan(view, schemas, scales, relation)
    kept = state_view(plan, view, schemas)
    types = key_types(view, schemas)
    items: dict[bytes, bytes] = {}
    entities = 0
    for keys, made in _items(connection, kept, types, at, threads, memory, progress):
        items.update(made)
        entities += sum(key in made for key in keys)
    mark = Mark(at, made_of, snapshot, entities, cut.stream if cut else "", dict(cut.offsets) if cut else {})
    store.replace(past_space(name, mark), items.items(), write_mark(mark))
    if cut is not None:
        _take_over(store, name, mark, before_switch)
    return Materialised(view.name, entities, at, new=True)


def _take_over(store: OnlineStore, name: str, mark: Mark, before_switch: Callable[[Mark], None] | None) -> None:
    """Put a new generation in the place of the one in use, once it holds what that one has been fed."""
    while True:
        (raw,) = store.get([(name, MARK)])
        mark = with_partitions(mark, raw)
        if before_switch is not None:
            before_switch(mark)
        try:
            store.commit([Write(name, [], write_mark(mark), raw)])
            break
        except Conflict:
            (now,) = store.get([(name, MARK)])
            if raw is None or now is None or read_mark(now).made_of != read_mark(raw).made_of:
                raise
            # a worker added a partition to the mark in use
    # whoever reads the generation before this one still finds it; those before it are gone
    keep = {past_space(name, mark), *([past_space(name, read_mark(raw))] if raw is not None else [])}
    for space in store.spaces():
        past = space.partition("/")[0]
        if view_of(space) == name and past != name and past not in keep:
            store.drop(space)


def _items(
    connection: duckdb.DuckDBPyConnection,
    kept: View,
    types: list[Type],
    at: int,
    threads: int,
    memory: int,
    progress: Callable[[str, int, int], None] | None,
) -> Iterator[tuple[list[bytes], dict[bytes, bytes]]]:
    """Entities and all that is kept of them, from all rows of the source; in parts where it is large."""
    key = key_reader(types)
    with Engine(connection, memory // 3, threads) as engine:
        stored = Stored(engine, kept.source, 0, memory // 3, read_again=False)
        stored.check_types(dict(zip(kept.source.spine_keys, types, strict=True)))
        for number, (table, is_all) in enumerate(stored.parts()):
            new = incoming(kept, table, key, counted(kept.source, table))
            made = applied(kept, new.keys, new.entity, new.rows, at, lambda keys: [None] * len(keys))
            yield new.keys, {place: value for place, value in made if value is not None}
            if progress is not None:
                progress(kept.source.name, number + 1, 1 if is_all else number + 2)
