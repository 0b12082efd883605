"""New parts of a source into the states of a view that no stream feeds, some rows a commit, each with its mark.

What is in is said in the same commit: a reader that comes in between knows of which rows its values are made, and a
materialisation that was cut short goes on behind the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec

from fivefold.features.kernel.plan import Source
from fivefold.features.kernel.relation import Engine, quoted
from fivefold.features.kernel.sources import Stored
from fivefold.features.state.apply import applied
from fivefold.features.state.incoming import Incoming, incoming
from fivefold.features.state.key import View
from fivefold.features.state.mark import Mark, past_space, read_mark, write_mark
from fivefold.ports.online import MARK, OnlineStore, Write

ROWS = 50_000
"""So many rows are brought into the states in one commit."""

_UNBOUNDED = 2**62

Pending = list[tuple[int, int]]
"""Parts that are not in, by place in the snapshot, with how many of their rows are."""


class Part(NamedTuple):
    """A part of a source's snapshot: what it holds, how many rows, and where."""

    digest: str
    rows: int
    file: Path


class Parts(NamedTuple):
    """The parts of a source's snapshot, in order; `of` gives the digests of those of an earlier snapshot."""

    now: Sequence[Part]
    of: Callable[[str], Sequence[str]]


def missing(held: Mark, parts: Parts) -> Pending | None:
    """What has to be added to states to be those of a snapshot; None when they have to be made anew.

    They have to be when rows that are in are not in the snapshot, or come in another order, and when making them anew
    is less work.
    """
    before = parts.of(held.snapshot)
    pending = dict(held.pending)
    inside = [(d, pending.get(i)) for i, d in enumerate(before) if pending.get(i) != 0]
    out: Pending = []
    taken = 0
    for place, part in enumerate(parts.now):
        if taken < len(inside) and inside[taken][0] == part.digest:
            rows = inside[taken][1]
            taken += 1
            if rows is not None:
                out.append((place, rows))
        elif part.rows:
            out.append((place, 0))
    if taken < len(inside):
        return None
    new = sum(parts.now[place].rows - rows for place, rows in out)
    return out if 2 * new <= sum(p.rows for p in parts.now) else None


def add_parts(
    connection: duckdb.DuckDBPyConnection,
    store: OnlineStore,
    name: str,
    kept: View,
    key: Callable[[Sequence[object]], bytes | None],
    raw: bytes,
    snapshot: str,
    parts: Parts,
    todo: Pending,
    at: int,
    progress: Callable[[str, int, int], None] | None,
) -> int | None:
    """Bring what is missing into the states of a view, whose mark is `raw`; returns how many entities it has then.

    None when its states have to be made anew, because a new row is a duplicate of one behind it that is in. Raises
    Conflict when somebody else changed the view meanwhile.
    """
    doubles = [_doubles(connection, kept.source, parts.now, place, todo) for place, _ in todo]
    states = _States(store, name, kept, raw, snapshot, at)
    steps = sum(len(range(rows, parts.now[place].rows, ROWS)) for place, rows in todo)
    step = 0
    for n, (place, rows) in enumerate(todo):
        without, part = doubles[n], parts.now[place]
        if without is None:
            return None
        for start in range(rows, part.rows, ROWS):
            stop = min(start + ROWS, part.rows)
            with Engine(connection, _UNBOUNDED, 1) as engine:
                # duplicates are left out already
                one = msgspec.structs.replace(kept.source, relation=_some(part, start, stop, without), id=None)
                (table, _), *_ = Stored(engine, one, 0, _UNBOUNDED, read_again=False).parts()
            rest: Pending = [(place, stop)] if stop < part.rows else []
            states.add(incoming(kept, table, key), rest + todo[n + 1 :])
            step += 1
            if progress is not None:
                progress(kept.source.name, step, steps)
    if not step:
        states.add(None, [])
    return states.mark.entities


class _States:
    """The states of a view as they grow, commit by commit."""

    def __init__(self, store: OnlineStore, name: str, kept: View, raw: bytes, snapshot: str, at: int) -> None:
        self._store, self._name, self._kept = store, name, kept
        self._raw = raw
        self.mark = msgspec.structs.replace(read_mark(raw), since=at, snapshot=snapshot)
        self._space = past_space(name, self.mark)
        (self._generation,) = self._get([MARK])

    def add(self, new: Incoming | None, pending: Pending) -> None:
        """Bring in some rows more; then `pending` are the parts that are not in. Raises Conflict as `commit` does."""
        items: list[tuple[bytes, bytes | None]] = []
        entities = self.mark.entities
        if new is not None:
            before = dict(zip(new.keys, self._get(new.keys), strict=True))

            def read(keys: Sequence[bytes]) -> list[bytes | None]:
                return [before[k] for k in keys] if before.keys() >= set(keys) else self._get(keys)

            items = applied(self._kept, new.keys, new.entity, new.rows, self.mark.since, read)
            after = dict(items)
            entities += sum((after.get(k, held) is not None) - (held is not None) for k, held in before.items())
        self.mark = msgspec.structs.replace(self.mark, entities=entities, pending=tuple(pending))
        now, generation = write_mark(self.mark), self._generation
        assert generation is not None, "the space of a generation in use has a mark"
        self._store.commit([Write(self._space, items, generation, generation), Write(self._name, [], now, self._raw)])
        self._raw = now

    def _get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.get([(self._space, k) for k in keys])


def _some(part: Part, start: int, stop: int, without: Sequence[int]) -> str:
    """The rows of a part from one on up to another, without some of them."""
    here = [str(n) for n in without if start <= n < stop]
    return (
        f"SELECT * EXCLUDE (file_row_number) FROM read_parquet({_files([part])}, file_row_number = true) "
        f"WHERE file_row_number >= {start} AND file_row_number < {stop}"
        + (f" AND file_row_number NOT IN ({', '.join(here)})" if here else "")
    )


def _doubles(
    connection: duckdb.DuckDBPyConnection, source: Source, parts: Sequence[Part], place: int, todo: Pending
) -> list[int] | None:
    """The rows of a part that are duplicates: whose id is in a part before it, or in a row before it.

    None when a part behind it that is in has one of its ids: that row would have to be taken out.
    """
    if source.id is None:
        return []
    identity, mine = quoted(source.id), f"read_parquet({_files([parts[place]])}, file_row_number = true)"
    out = {p for p, rows in todo if not rows}
    behind = [p for i, p in enumerate(parts) if i > place and i not in out and p.rows]
    if behind:
        query = (
            f"SELECT count(*) FROM {mine} WHERE {identity} IN (SELECT {identity} FROM read_parquet({_files(behind)}))"
        )
        if connection.execute(query).fetchall()[0][0]:
            return None
    before = [p for p in parts[:place] if p.rows]
    known = f"{identity} IN (SELECT {identity} FROM read_parquet({_files(before)}))" if before else "false"
    rows = connection.execute(
        f"SELECT n FROM (SELECT {identity} AS i, file_row_number AS n, {known} AS known, "
        f"row_number() OVER (PARTITION BY {identity} ORDER BY file_row_number) AS nth FROM {mine} "
        f"WHERE {identity} IS NOT NULL) WHERE known OR nth > 1 ORDER BY n"
    ).fetchall()
    return [n for (n,) in rows]


def _files(parts: Sequence[Part]) -> str:
    quoted_files = ("'" + str(part.file).replace("'", "''") + "'" for part in parts)
    return f"[{', '.join(quoted_files)}]"
