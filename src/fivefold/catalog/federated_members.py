"""Who belongs to the federations of a project: invitations that are good once, members, and their certificates."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from fivefold.catalog.audit import record
from fivefold.catalog.bounds import name
from fivefold.catalog.database import Database
from fivefold.catalog.federated_tables import certificates, invitations, members
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.identity import Unauthenticated


class Member(msgspec.Struct, frozen=True):
    """A site: its key for messages (hex), since when it belongs, and since when it does not any more (microseconds)."""

    client: str
    key: str
    joined_at: int
    revoked_at: int | None


class Issued(msgspec.Struct, frozen=True):
    """A certificate: its number, its bytes (DER), and when it ends (microseconds UTC)."""

    serial: str
    certificate: bytes
    expires_at: int


_MEMBER = tuple(members.c[field] for field in Member.__struct_fields__)
Issue = Callable[[], Issued]


class Members:
    """The members of a project's federations."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def invite(self, client: str, id: str, digest: str, *, expires_at: int, actor: str) -> None:
        """Keep the digest of an invitation's secret. Raises Invalid for an end that is past."""
        name(client, "client")
        with self._db.write("federation members") as conn:
            now = self._db.clock()
            if expires_at <= now:
                raise Invalid(f"expires_at: {expires_at} is past.", hint="Give a time to come.")
            row = {"project": self._db.project, "id": id, "client": client, "digest": digest}
            conn.execute(sa.insert(invitations), {**row, "created_at": now, "expires_at": expires_at})
            self._record(conn, actor, "invite", client, id)

    def invited(self, id: str, holds: Callable[[str], bool]) -> str:
        """Whom an invitation is for; `holds` says whether its digest is the right one.

        Raises Unauthenticated, in the same words whatever is wrong.
        """
        with self._db.read() as conn:
            row = conn.execute(sa.select(invitations).where(self._of(invitations), invitations.c.id == id)).first()
        # an unknown id takes as long as a wrong secret
        right = holds("" if row is None else row.digest)
        if row is None or not right or (row.request is None and row.expires_at <= self._db.clock()):
            raise Unauthenticated("this invitation is not accepted.", hint="Ask for a new one.")
        return str(row.client)

    def redeem(self, id: str, request: str, key: str, issue: Issue) -> Issued:
        """Make who is invited a member with this key, and keep what `issue` makes; the same request gets the same.

        Raises Conflict for another request, since an invitation is good once.
        """
        with self._db.write("federation members") as conn:
            mine = self._of(invitations) & (invitations.c.id == id)
            row = conn.execute(sa.select(invitations).where(mine)).one()
            if row.request is not None:
                if row.request != request:
                    raise Conflict("this invitation was used by another request.", hint="Ask for a new one.")
                return self._issued(conn, row.serial)
            now = self._db.clock()
            joined = {
                "project": self._db.project,
                "client": row.client,
                "key": key,
                "joined_at": now,
                "revoked_at": None,
            }
            insert = self._db.insert(members).values(joined)
            conn.execute(insert.on_conflict_do_update(index_elements=["project", "client"], set_=joined))
            made = self._keep(conn, row.client, key, request, issue())
            conn.execute(sa.update(invitations).where(mine).values(request=request, serial=made.serial))
            self._record(conn, f"invitation/{id}", "join", row.client, key)
            return made

    def renew(self, client: str, request: str, key: str, issue: Issue) -> Issued:
        """Another certificate for a member with the same key; the same request again gets the same.

        Raises Unauthenticated for who is no member, or has another key.
        """
        with self._db.write("federation members") as conn:
            self._require(conn, client, key)
            found = sa.select(certificates.c.serial).where(
                self._of(certificates), certificates.c.client == client, certificates.c.request == request
            )
            serial = conn.execute(found).scalar()
            return self._issued(conn, serial) if serial else self._keep(conn, client, key, request, issue())

    def require(self, client: str, serial: str) -> str:
        """The key (hex) of a member whose certificate this is. Raises Unauthenticated when either holds no more."""
        with self._db.read() as conn:
            found = conn.execute(
                sa.select(certificates.c.key).where(
                    self._of(certificates), certificates.c.serial == serial, certificates.c.client == client
                )
            ).scalar()
            if found is None:
                raise Unauthenticated(f"{client!r} has no such certificate.", hint="Enrol.")
            self._require(conn, client, found)
            return str(found)

    def revoke(self, client: str, *, actor: str) -> None:
        """Let a member in no more, with whatever certificate; twice is once. Raises NotFound."""
        with self._db.write("federation members") as conn:
            mine = self._of(members) & (members.c.client == client)
            found = conn.execute(sa.select(*_MEMBER).where(mine)).first()
            if found is None:
                have = conn.execute(sa.select(members.c.client).where(self._of(members))).scalars()
                raise NotFound.named("member", client, have)
            if found.revoked_at is None:
                conn.execute(sa.update(members).where(mine).values(revoked_at=self._db.clock()))
                self._record(conn, actor, "revoke", client, None)

    def all(self) -> tuple[Member, ...]:
        """Every member, revoked ones too, by name."""
        with self._db.read() as conn:
            rows = conn.execute(sa.select(*_MEMBER).where(self._of(members)).order_by(members.c.client)).all()
        return tuple(Member(*row) for row in rows)

    def _keep(self, conn: sa.Connection, client: str, key: str, request: str, made: Issued) -> Issued:
        row = {"project": self._db.project, "client": client, "key": key, "request": request}
        conn.execute(sa.insert(certificates), {**row, "issued_at": self._db.clock(), **msgspec.structs.asdict(made)})
        return made

    def _issued(self, conn: sa.Connection, serial: str) -> Issued:
        columns = [certificates.c[field] for field in Issued.__struct_fields__]
        row = conn.execute(sa.select(*columns).where(self._of(certificates), certificates.c.serial == serial)).one()
        return Issued(*row)

    def _require(self, conn: sa.Connection, client: str, key: str) -> None:
        found = conn.execute(sa.select(*_MEMBER).where(self._of(members), members.c.client == client)).first()
        if found is None or found.revoked_at is not None or found.key != key:
            raise Unauthenticated(
                f"{client!r} is no member, or not with this key.", hint="Enrol with a new invitation."
            )

    def _of(self, table: sa.Table) -> sa.ColumnElement[bool]:
        return table.c.project == self._db.project

    def _record(self, conn: sa.Connection, actor: str, action: str, client: str, after: str | None) -> None:
        now = self._db.clock()
        record(conn, self._db.project, now, actor, f"federation-{action}", f"member/{client}", None, after)
