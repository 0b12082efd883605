"""What is applied, and everything that ever was: definitions under a revision number of the project."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.tables import definitions, projects
from fivefold.core.canonical import Json, canonical, digest
from fivefold.core.errors import Conflict, Invalid, NotFound


class Change(msgspec.Struct, frozen=True):
    """Apply `value` under (kind, name), or remove it when `value` is None; `digest` is computed unless given."""

    kind: str
    name: str
    value: Json = None
    digest: str = ""


class Applied(msgspec.Struct, frozen=True):
    """A definition as applied at `revision`; `removed_at` is None while it holds. `pinned`: values chosen at apply."""

    kind: str
    name: str
    digest: str
    value: Any
    pinned: dict[str, Any]
    revision: int
    applied_at: int
    removed_at: int | None
    actor: str


class Revision(msgspec.Struct, frozen=True):
    """The project's revision after an apply, and the (kind, name) pairs that it changed."""

    number: int
    changed: tuple[tuple[str, str], ...]


_COLUMNS = tuple(definitions.c[field] for field in Applied.__struct_fields__)


class Definitions:
    """The definitions of a project."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def revision(self) -> int:
        """The project's revision number; 0 before the first apply."""
        with self._db.read() as conn:
            return _revision(conn, self._db.project)

    def applied(self, revision: int | None = None) -> dict[tuple[str, str], Applied]:
        """What is applied now, or was at `revision`, by (kind, name)."""
        with self._db.read() as conn:
            return _applied(conn, self._db.project, revision)

    def history(self, kind: str, name: str) -> tuple[Applied, ...]:
        """Every definition that was ever applied under (kind, name), oldest first."""
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(*_COLUMNS)
                .where(
                    definitions.c.project == self._db.project,
                    definitions.c.kind == kind,
                    definitions.c.name == name,
                )
                .order_by(definitions.c.revision)
            ).all()
        return tuple(map(_from_row, rows))

    def apply(self, changes: Iterable[Change], *, expected_revision: int, actor: str) -> Revision:
        """Applies all changes or none, if the project is still at `expected_revision`.

        A changed definition keeps the pinned values of the one before. Changes that hold already count as done, so
        repeating an apply does nothing new. Raises Conflict when somebody else applied meanwhile, Invalid when one
        (kind, name) is given twice or a value is too large.
        """
        wanted = _checked(changes)
        bounds.name(actor, "actor")
        with self._db.write("definitions") as conn:
            project, at = self._db.project, self._db.clock()
            number, live = _revision(conn, project), _applied(conn, project)
            todo = {
                key: want
                for key, want in wanted.items()
                if (want[0] if want else None) != (live[key].digest if key in live else None)
            }
            if not todo:
                return Revision(number, ())
            if number != expected_revision:
                raise Conflict(
                    f"the project {project!r} is at revision {number}, not {expected_revision}: "
                    "somebody applied meanwhile.",
                    hint="Plan again, then apply.",
                )
            _set_revision(self._db, conn, number + 1)
            for key, want in todo.items():
                self._change(conn, key, live.get(key), want, number + 1, at, actor)
        return Revision(number + 1, tuple(todo))

    def pin(self, kind: str, name: str, values: Mapping[str, Json], *, actor: str) -> Applied:
        """Keeps chosen values (say, fixed-point scales) with the applied definition.

        Pinning the same again does nothing. Raises NotFound when (kind, name) is not applied, Conflict when a value is
        pinned differently already.
        """
        with self._db.write("definitions") as conn:
            live = _applied(conn, self._db.project)
            if (kind, name) not in live:
                raise NotFound.named(f"applied {kind}", name, [n for k, n in live if k == kind])
            held = live[kind, name]
            for key, value in values.items():
                if key in held.pinned and held.pinned[key] != value:
                    raise Conflict(
                        f"{kind} {name!r}: {key!r} is pinned to {held.pinned[key]!r}, not {value!r}.",
                        hint="A pinned value never changes: rename what needs another.",
                    )
            pinned = {**held.pinned, **values}
            if pinned == held.pinned:
                return held
            written = bounds.document(pinned, f"pinned values of {kind} {name!r}")
            conn.execute(
                sa.update(definitions)
                .values(pinned=written)
                .where(
                    definitions.c.project == self._db.project,
                    definitions.c.kind == kind,
                    definitions.c.name == name,
                    definitions.c.revision == held.revision,
                )
            )
            record(
                conn,
                self._db.project,
                self._db.clock(),
                actor,
                "pin",
                f"{kind}/{name}",
                digest("pinned", held.pinned),
                digest("pinned", pinned),
            )
        return msgspec.structs.replace(held, pinned=pinned)

    def _change(
        self,
        conn: sa.Connection,
        key: tuple[str, str],
        old: Applied | None,
        new: tuple[str, str] | None,
        revision: int,
        at: int,
        actor: str,
    ) -> None:
        kind, name = key
        if old:
            conn.execute(
                sa.update(definitions)
                .values(removed_at=at, removed_revision=revision)
                .where(
                    definitions.c.project == self._db.project,
                    definitions.c.kind == kind,
                    definitions.c.name == name,
                    definitions.c.revision == old.revision,
                )
            )
        if new:
            conn.execute(
                sa.insert(definitions),
                {
                    "project": self._db.project,
                    "kind": kind,
                    "name": name,
                    "revision": revision,
                    "digest": new[0],
                    "value": new[1],
                    "pinned": bounds.document(old.pinned if old else {}, "pinned"),
                    "applied_at": at,
                    "actor": actor,
                },
            )
        record(
            conn,
            self._db.project,
            at,
            actor,
            "apply" if new else "remove",
            f"{kind}/{name}",
            old.digest if old else None,
            new[0] if new else None,
            f"revision {revision}",
        )


def _checked(changes: Iterable[Change]) -> dict[tuple[str, str], tuple[str, str] | None]:
    """By (kind, name): the digest and JSON text wanted, or None for a removal."""
    wanted: dict[tuple[str, str], tuple[str, str] | None] = {}
    for change in changes:
        key = (bounds.name(change.kind, "kind"), bounds.name(change.name, f"name of a {change.kind}"))
        if key in wanted:
            raise Invalid(f"{change.kind} {change.name!r} is given twice in one apply.")
        bounds.document(change.value, f"{change.kind} {change.name!r}")
        wanted[key] = (
            None
            if change.value is None
            else (change.digest or digest(change.kind, change.value), canonical(change.value).decode())
        )
    return wanted


def _revision(conn: sa.Connection, project: str) -> int:
    found = conn.execute(sa.select(projects.c.revision).where(projects.c.project == project)).scalar()
    return 0 if found is None else int(found)


def _set_revision(database: Database, conn: sa.Connection, number: int) -> None:
    insert = database.insert(projects).values(project=database.project, revision=number)
    conn.execute(insert.on_conflict_do_update(index_elements=["project"], set_={"revision": number}))


def _applied(conn: sa.Connection, project: str, revision: int | None = None) -> dict[tuple[str, str], Applied]:
    held: sa.ColumnElement[bool] = definitions.c.removed_revision.is_(None)
    if revision is not None:
        held = sa.and_(definitions.c.revision <= revision, sa.or_(held, definitions.c.removed_revision > revision))
    rows = conn.execute(
        sa.select(*_COLUMNS)
        .where(definitions.c.project == project, held)
        .order_by(definitions.c.kind, definitions.c.name)
    ).all()
    return {(row.kind, row.name): _from_row(row) for row in rows}


def _from_row(row: sa.Row[tuple[object, ...]]) -> Applied:
    fields = row._asdict()
    return Applied(**{**fields, "value": bounds.read(fields["value"]), "pinned": bounds.read(fields["pinned"])})
