"""What came from what: edges between things named by (kind, id), followed upstream and downstream."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.tables import lineage
from fivefold.core.errors import Invalid

MOST_EDGES = 10_000


class Thing(msgspec.Struct, frozen=True, order=True):
    """Anything that lineage can name: ("snapshot", digest), ("run", id), ("version", "late/3")."""

    kind: str
    id: str


class Edge(msgspec.Struct, frozen=True, order=True):
    """`to` was made from `source`; `relation` says how (input, output, derived …)."""

    source: Thing
    to: Thing
    relation: str
    linked_at: int


class Lineage:
    """The lineage of a project."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def link(self, edges: Iterable[tuple[Thing, Thing, str]], *, actor: str = "") -> int:
        """Adds edges (from, to, relation), all or none; edges that are there stay. Returns how many were new."""
        at = self._db.clock()
        rows = [
            {
                "project": self._db.project,
                "from_kind": a.kind,
                "from_id": a.id,
                "to_kind": b.kind,
                "to_id": b.id,
                "relation": bounds.name(relation, "relation"),
                "linked_at": at,
            }
            for a, b, relation in edges
        ]
        for row in rows:
            for field in ("from_kind", "from_id", "to_kind", "to_id"):
                bounds.name(str(row[field]), field)
        if len(rows) > MOST_EDGES:
            raise Invalid(f"{len(rows)} edges in one call are too many (at most {MOST_EDGES}).")
        made = 0
        with self._db.write("lineage") as conn:
            for row in rows:
                insert = self._db.insert(lineage).values(row).on_conflict_do_nothing().returning(lineage.c.linked_at)
                if conn.execute(insert).first() is not None:
                    made += 1
                    record(
                        conn,
                        self._db.project,
                        at,
                        actor,
                        "link",
                        f"{row['to_kind']}/{row['to_id']}",
                        None,
                        f"{row['from_kind']}/{row['from_id']}",
                        str(row["relation"]),
                    )
        return made

    def upstream(self, thing: Thing, *, depth: int | None = None, limit: int = 10_000) -> tuple[Edge, ...]:
        """Every edge that leads to `thing`, directly or through others, the nearest first; a cycle is followed once.

        `depth` keeps those at most so many edges away. Raises Invalid when there are more than `limit` edges in all.
        """
        return _by_distance(self._reach(thing, limit, up=True), thing, depth, up=True)

    def downstream(self, thing: Thing, *, depth: int | None = None, limit: int = 10_000) -> tuple[Edge, ...]:
        """Every edge that leads away from `thing`; otherwise as `upstream`."""
        return _by_distance(self._reach(thing, limit, up=False), thing, depth, up=False)

    def _reach(self, thing: Thing, limit: int, *, up: bool) -> list[Edge]:
        edge = lineage.c
        source, to = (edge.from_kind, edge.from_id), (edge.to_kind, edge.to_id)
        near, far = (to, source) if up else (source, to)
        mine = edge.project == self._db.project
        # UNION keeps each thing once, so a cycle ends the recursion instead of feeding it
        seen = sa.select(sa.literal(thing.kind).label("kind"), sa.literal(thing.id).label("id")).cte("seen", True)
        seen = seen.union(sa.select(*far).where(mine, near[0] == seen.c.kind, near[1] == seen.c.id))
        found = (
            sa.select(*source, *to, edge.relation, edge.linked_at)
            .join(seen, sa.and_(near[0] == seen.c.kind, near[1] == seen.c.id))
            .where(mine)
        )
        with self._db.read() as conn:
            rows = conn.execute(found.limit(bounds.page_size(limit, 100_000) + 1)).all()
        if len(rows) > limit:
            raise Invalid(
                f"the lineage of {thing.kind} {thing.id!r} has more than {limit} edges.",
                hint="Ask for the lineage of something nearer, or with a larger limit.",
            )
        return sorted(Edge(Thing(r[0], r[1]), Thing(r[2], r[3]), r[4], r[5]) for r in rows)


def _by_distance(edges: list[Edge], thing: Thing, depth: int | None, *, up: bool) -> tuple[Edge, ...]:
    leaving: dict[Thing, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.to if up else edge.source, []).append(edge)
    ordered: list[Edge] = []
    seen, frontier, away = {thing}, [thing], 0
    while frontier and (depth is None or away < depth):
        found = [edge for at in frontier for edge in leaving.get(at, ())]
        ordered += found
        frontier = sorted({edge.source if up else edge.to for edge in found} - seen)
        seen.update(frontier)
        away += 1
    return tuple(ordered)
