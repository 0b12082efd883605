"""Who changed what, when: one row for every change to definitions, runs, versions, aliases and lineage."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from fivefold.catalog.bounds import page_size
from fivefold.catalog.database import Database
from fivefold.catalog.tables import audit


class AuditEntry(msgspec.Struct, frozen=True):
    """One change: `before` and `after` are digests or short states, None where there was nothing."""

    id: int
    at: int
    actor: str
    action: str
    subject: str
    before: str | None
    after: str | None
    note: str


class Audit:
    """The audit log of a project; entries are only ever added, in the transaction of the change itself."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def log(
        self, *, subject: str | None = None, limit: int = 100, before_id: int | None = None
    ) -> tuple[AuditEntry, ...]:
        """Entries newest first, of one subject (`model/late@champion`) or all; `before_id` reads on from there."""
        found = sa.select(*(audit.c[field] for field in AuditEntry.__struct_fields__)).where(
            audit.c.project == self._db.project
        )
        if subject is not None:
            found = found.where(audit.c.subject == subject)
        if before_id is not None:
            found = found.where(audit.c.id < before_id)
        with self._db.read() as conn:
            rows = conn.execute(found.order_by(audit.c.id.desc()).limit(page_size(limit, 10_000))).all()
        return tuple(AuditEntry(*row) for row in rows)


def record(
    conn: sa.Connection,
    project: str,
    at: int,
    actor: str,
    action: str,
    subject: str,
    before: str | None = None,
    after: str | None = None,
    note: str = "",
) -> None:
    """Adds an entry in the caller's transaction."""
    conn.execute(
        sa.insert(audit),
        {
            "project": project,
            "at": at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "before": before,
            "after": after,
            "note": note,
        },
    )
