"""What a source held when it was read: its parts and their digest, numbered."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.tables import snapshots
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict, NotFound, did_you_mean


class Snapshot(msgspec.Struct, frozen=True):
    """The `number`-th state of a source; `parts` say which files or offsets it is made of."""

    source: str
    number: int
    digest: str
    parts: Any
    recorded_at: int


_COLUMNS = tuple(snapshots.c[field] for field in Snapshot.__struct_fields__)


class Snapshots:
    """The snapshots of a project's sources."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def record(self, source: str, digest: str, parts: Json, *, actor: str = "", follows: str | None = None) -> Snapshot:
        """The snapshot of this digest: the latest one if nothing changed since, else a new one.

        With `follows` it is recorded only while the latest one has that digest ("" while there is none). Raises
        Conflict when it has another, Invalid when `parts` is not JSON or is above 16 MB.
        """
        bounds.name(source, "source")
        bounds.name(digest, "digest")
        written = bounds.document(parts, f"parts of {source!r}", bounds.PARTS)
        with self._db.write("snapshots", source) as conn:
            last = conn.execute(self._of(source).limit(1)).first()
            if last is not None and last.digest == digest:
                return _from_row(last)
            if follows is not None and follows != (last.digest if last else ""):
                raise Conflict(f"another snapshot of {source!r} was recorded meanwhile.", hint="Go on from that one.")
            made = Snapshot(source, last.number + 1 if last else 1, digest, parts, self._db.clock())
            conn.execute(
                sa.insert(snapshots), {"project": self._db.project, **msgspec.structs.asdict(made), "parts": written}
            )
            record(
                conn,
                self._db.project,
                made.recorded_at,
                actor,
                "snapshot",
                f"source/{source}",
                last.digest if last else None,
                digest,
            )
        return made

    def latest(self, source: str) -> Snapshot | None:
        """The newest snapshot of a source; None when there is none."""
        with self._db.read() as conn:
            row = conn.execute(self._of(source).limit(1)).first()
        return _from_row(row) if row else None

    def get(self, source: str, digest: str) -> Snapshot:
        """The newest snapshot of a source with this digest; raises NotFound."""
        with self._db.read() as conn:
            row = conn.execute(self._of(source).where(snapshots.c.digest == digest).limit(1)).first()
            if row is None:
                have = (
                    conn.execute(
                        sa.select(snapshots.c.source).distinct().where(snapshots.c.project == self._db.project)
                    )
                    .scalars()
                    .all()
                )
                raise NotFound(
                    f"no snapshot {digest!r} of the source {source!r}.",
                    hint="" if source in have else did_you_mean(source, have),
                )
        return _from_row(row)

    def history(self, source: str, limit: int = 100) -> tuple[Snapshot, ...]:
        """The snapshots of a source, newest first."""
        with self._db.read() as conn:
            rows = conn.execute(self._of(source).limit(bounds.page_size(limit, 10_000))).all()
        return tuple(map(_from_row, rows))

    def _of(self, source: str) -> sa.Select[tuple[object, ...]]:
        return (
            sa.select(*_COLUMNS)
            .where(snapshots.c.project == self._db.project, snapshots.c.source == source)
            .order_by(snapshots.c.number.desc())
        )


def _from_row(row: sa.Row[tuple[object, ...]]) -> Snapshot:
    fields = row._asdict()
    return Snapshot(**{**fields, "parts": bounds.read(fields["parts"])})
