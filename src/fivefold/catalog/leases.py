"""Leases: a name belongs to one owner for a while, and is anybody's again when that owner stops renewing it."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.tables import leases


class Lease(msgspec.Struct, frozen=True):
    """Who holds a name, until when (microseconds UTC); `fence` grows with each change of owner."""

    name: str
    owner: str
    fence: int
    until: int


_COLUMNS = tuple(leases.c[field] for field in Lease.__struct_fields__)


class Leases:
    """The leases of a project. None of them is durable: whoever held one in a power cut is gone as well."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def acquire(self, name: str, owner: str, lease_us: int) -> Lease | None:
        """The lease of a name that is free, over or the owner's already, from now on; None while it is another's."""
        bounds.name(name, "lease")
        bounds.name(owner, "owner")
        with self._db.write("lease", name, durable=False) as conn:
            now = self._db.clock()
            mine = (leases.c.project == self._db.project) & (leases.c.name == name)
            row = conn.execute(sa.select(*_COLUMNS).where(mine)).first()
            held = Lease(**row._asdict()) if row else None
            if held is not None and held.owner != owner and held.until > now:
                return None
            fence = 1 if held is None else held.fence + (held.owner != owner)
            made = Lease(name, owner, fence, now + lease_us)
            values = {"project": self._db.project, **msgspec.structs.asdict(made)}
            insert = self._db.insert(leases).values(values)
            conn.execute(insert.on_conflict_do_update(index_elements=["project", "name"], set_=values))
            return made

    def release(self, name: str, owner: str) -> None:
        """Give a name back; one that is not the owner's any more is fine. Its fence goes on."""
        with self._db.write("lease", name, durable=False) as conn:
            conn.execute(
                sa.update(leases)
                .where(leases.c.project == self._db.project, leases.c.name == name, leases.c.owner == owner)
                .values(until=0)
            )

    def held(self, prefix: str) -> tuple[Lease, ...]:
        """The leases that somebody holds now, of names that begin so, by name."""
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(*_COLUMNS)
                .where(
                    leases.c.project == self._db.project,
                    leases.c.name.startswith(prefix, autoescape=True),
                    leases.c.until > self._db.clock(),
                )
                .order_by(leases.c.name)
            ).all()
        return tuple(Lease(**row._asdict()) for row in rows)
