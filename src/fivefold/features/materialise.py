"""The past of a feature view, for every entity, into the online store: as states that answer every later moment.

A view is built as a generation of its own, which takes the place of the one in use when it is whole. A build that was
cut short goes on where it was. A view that no stream feeds takes new parts of its source into the generation in use:
see increment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import duckdb
import msgspec

from fivefold.core.canonical import digest
from fivefold.core.errors import Conflict
from fivefold.core.features import FeatureView
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.features.compile import Relation, Scales, sources
from fivefold.features.entity_keys import key_reader
from fivefold.features.increment import Parts, add_parts, missing
from fivefold.features.kernel.plan import Source
from fivefold.features.kernel.relation import Engine
from fivefold.features.kernel.sources import Stored, counted
from fivefold.features.state.apply import applied
from fivefold.features.state.incoming import incoming
from fivefold.features.state.key import View
from fivefold.features.state.mark import (
    Built,
    Mark,
    past_space,
    read_built,
    read_mark,
    view_of,
    with_partitions,
    write_built,
    write_mark,
)
from fivefold.ports.online import MARK, OnlineStore, Write

MEMORY = 1 << 30

COMMIT = 50_000
"""So many states are written at once while a generation is built."""

_ATTEMPTS = 20

Progress = Callable[[str, int, int], None]


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
    parts: Parts | None = None,
    cut: Cut | None = None,
    before_switch: Callable[[Mark], None] | None = None,
    threads: int = 2,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Materialised:
    """Bring the states of a view, for queries from `at` (µs) on, to the rows of a snapshot, in the store under `name`.

    `meaning` is the view's closure digest, `snapshot` that of its source, and `parts` are the snapshot's files. When
    the store holds states of the same, made for `at` or earlier, nothing is done; when it holds those of a part of
    them, the others are added. For a view fed by a stream, `cut` says where the stream goes on, and `before_switch` is
    called when the new generation is there and before it takes the place of the one in use.

    Raises Conflict when others change the view again and again meanwhile.
    """
    kind = digest(
        "states", {"view": meaning, "scales": {c: str(s) for c, s in scales.get(rows_of(view.source).name, {}).items()}}
    )
    made_of = digest(
        "materialised",
        {
            "kind": kind,
            "snapshot": snapshot,
            "at": str(at),
            "cut": {str(p): str(o) for p, o in (cut.offsets if cut else {}).items()},
        },
    )
    plan = view_plan(view, schemas, scales, relation)
    work = _Work(connection, plan, state_view(plan, view, schemas), key_types(view, schemas), at, threads, memory)
    for _ in range(_ATTEMPTS):
        (raw,) = store.get([(name, MARK)])
        held = None if raw is None else read_mark(raw)
        if held is not None and held.made_of == made_of and not held.pending and held.snapshot == snapshot:
            return Materialised(view.name, held.entities, at, new=False)
        todo = None
        if held is not None and cut is None and parts is not None and held.kind == kind and held.since <= at:
            if held.snapshot == snapshot and not held.pending:
                return Materialised(view.name, held.entities, held.since, new=False)
            todo = missing(held, parts)
        mark = Mark(at, made_of, snapshot, 0, cut.stream if cut else "", dict(cut.offsets) if cut else {}, kind=kind)
        try:
            entities = None
            if todo is not None:
                assert parts is not None
                assert raw is not None
                entities = add_parts(
                    connection, store, name, work.kept, key_reader(work.types), raw, snapshot, parts, todo, at, progress
                )
            if entities is None:
                built = _build(store, name, mark, raw, work, progress)
                entities = built.entities
                _take_over(store, name, msgspec.structs.replace(mark, entities=entities), raw, before_switch)
            return Materialised(view.name, entities, at, new=True)
        except Conflict:
            continue  # somebody else is at it: what they have done is taken up
    raise Conflict(f"{view.ref} is materialised by others all the time.", hint="Materialise it from one place.")


class _Work(NamedTuple):
    """What a generation is made from."""

    connection: duckdb.DuckDBPyConnection
    plan: Source
    kept: View
    types: list[Type]
    at: int
    threads: int
    memory: int


def _build(
    store: OnlineStore, name: str, mark: Mark, held: bytes | None, work: _Work, progress: Progress | None
) -> Built:
    """Make a generation, or what is missing of it, beside the one in use."""
    space = past_space(name, mark)
    (raw,) = store.get([(space, MARK)])
    built = Built() if raw is None else read_built(raw)
    if built.whole:
        return built
    for part in _parts(work, built):
        # parts are told apart by hashes, which another version, or another count, tells apart differently
        if part.how != built.how:
            if raw is not None:
                store.drop(space)
            raw, built = None, Built(how=part.how)
        if part.number < built.done:
            continue
        done = msgspec.structs.replace(
            built,
            done=part.number + 1,
            entities=built.entities + part.entities,
            whole=part.number + 1 == part.of,
        )
        items = list(part.items.items())
        for start in range(0, max(len(items), 1), COMMIT):
            last = start + COMMIT >= len(items)
            # until all of a part is there its mark stays, and what is written of it is written again
            now = write_built(done if last else built)
            store.commit([Write(space, items[start : start + COMMIT], now, raw)])
            raw = now
        built = done
        if progress is not None:
            progress(work.plan.name, part.number + 1, part.of)
    return built


def _take_over(
    store: OnlineStore, name: str, mark: Mark, raw: bytes | None, before_switch: Callable[[Mark], None] | None
) -> None:
    """Put a new generation in the place of the one in use, once it holds what that one has been fed."""
    while True:
        mark = with_partitions(mark, raw)
        if before_switch is not None and mark.stream:
            before_switch(mark)
        try:
            store.commit([Write(name, [], write_mark(mark), raw)])
            break
        except Conflict:
            (now,) = store.get([(name, MARK)])
            if not mark.stream or raw is None or now is None or read_mark(now).made_of != read_mark(raw).made_of:
                raise
            raw = now  # a worker added a partition to the mark in use
    # partitions are not read as of the commit of their view's mark: whoever reads the generation before this one still
    # finds it; those before it are gone
    keep = {past_space(name, mark)}
    if raw is not None and mark.stream:
        keep.add(past_space(name, read_mark(raw)))
    for space in store.spaces():
        past = space.partition("/")[0]
        if view_of(space) == name and past != name and past not in keep:
            store.drop(space)


class _Part(NamedTuple):
    """All that is kept of some entities: which part of how many it is, and how they are told apart."""

    number: int
    of: int
    how: str
    entities: int
    items: dict[bytes, bytes]


def _parts(work: _Work, built: Built) -> Iterator[_Part]:
    """Entities and all that is kept of them, from all rows of the source; in parts where it is large."""
    key = key_reader(work.types)
    kept = work.kept
    with Engine(work.connection, work.memory // 3, work.threads) as engine:
        stored = Stored(engine, work.plan, 0, work.memory // 3, read_again=False)
        stored.check_types(dict(zip(work.plan.spine_keys, work.types, strict=True)))
        number = -1
        for number, (table, count) in enumerate(stored.parts()):
            how = f"duckdb {duckdb.__version__}, {count}"
            if how == built.how and number < built.done:
                yield _Part(number, count, how, 0, {})
                continue
            new = incoming(kept, table, key, counted(kept.source, table))
            made = dict(applied(kept, new.keys, new.entity, new.rows, work.at, lambda keys: [None] * len(keys)))
            items = {place: value for place, value in made.items() if value is not None}
            yield _Part(number, count, how, sum(k in items for k in new.keys), items)
        if number < 0:
            yield _Part(0, 1, "nothing", 0, {})
