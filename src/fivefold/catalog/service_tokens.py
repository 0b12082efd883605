"""Tokens of services: digests of their secrets, found by a public id; until when they hold; when they were used."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.grants import principal
from fivefold.catalog.tables import tokens
from fivefold.core.errors import Invalid, NotFound
from fivefold.core.identity import Principal, identity_name

USED_EVERY = 3_600_000_000
"""Microseconds: that a token was used is written down no more often than this."""


class Token(msgspec.Struct, frozen=True):
    """A token of a service; times are microseconds UTC, `used_at` to within an hour."""

    id: str
    name: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    used_at: int | None


class Held(msgspec.Struct, frozen=True):
    """A token that holds now: whose it is, the digest of its secret, until when it holds, and its last known use."""

    principal: Principal
    digest: str
    expires_at: int | None
    used_at: int | None


_COLUMNS = tuple(tokens.c[field] for field in Token.__struct_fields__)


class Tokens:
    """The tokens of a project. Several may have one name, so that a service changes from one to the next at leisure."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, id: str, name: str, digest: str, *, expires_at: int | None = None, actor: str) -> Token:
        """A new token, by the digest of its secret. Raises Invalid for a bad name and for an end that is past."""
        name = identity_name(name, "token")
        with self._db.write("identity") as conn:
            now = self._db.clock()
            if expires_at is not None and expires_at <= now:
                raise Invalid(f"expires_at: {expires_at} is past.", hint="Give a time to come, or none.")
            made = Token(id, name, now, expires_at, None, None)
            values = {"project": self._db.project, "digest": digest, **msgspec.structs.asdict(made)}
            conn.execute(sa.insert(tokens), values)
            self._record(conn, actor, "token-create", name, None, id)
        return made

    def revoke(self, which: str, *, actor: str) -> tuple[Token, ...]:
        """Let a token in no more, by its id, or all of a name; twice is once. Gives those that held until now.

        Raises NotFound when there is none.
        """
        with self._db.write("identity") as conn:
            named = self._mine & ((tokens.c.id == which) | (tokens.c.name == which))
            found = [Token(*row) for row in conn.execute(sa.select(*_COLUMNS).where(named)).all()]
            if not found:
                have = conn.execute(sa.select(tokens.c.name).where(self._mine).distinct()).scalars()
                raise NotFound.named("token", which, have)
            held = tuple(t for t in found if t.revoked_at is None)
            conn.execute(
                sa.update(tokens).where(named, tokens.c.revoked_at.is_(None)).values(revoked_at=self._db.clock())
            )
            for token in held:
                self._record(conn, actor, "token-revoke", token.name, token.id, None)
        return held

    def all(self) -> tuple[Token, ...]:
        """Every token, revoked ones too, by name and age."""
        found = sa.select(*_COLUMNS).where(self._mine).order_by(tokens.c.name, tokens.c.created_at, tokens.c.id)
        with self._db.read() as conn:
            return tuple(Token(*row) for row in conn.execute(found).all())

    def find(self, id: str) -> Held | None:
        """The token of an id; None for one that is not there, was revoked, or is over."""
        with self._db.read() as conn:
            row = conn.execute(sa.select(tokens).where(self._mine, tokens.c.id == id)).first()
            if row is None or row.revoked_at is not None:
                return None
            if row.expires_at is not None and row.expires_at <= self._db.clock():
                return None
            who = principal(conn, self._db.project, "token", row.name)
            return Held(who, row.digest, row.expires_at, row.used_at)

    def used(self, id: str, held: Held) -> None:
        """Write down that a token was used, if that was not known of the last hour."""
        now = self._db.clock()
        if held.used_at is None or now - held.used_at >= USED_EVERY:
            with self._db.write(durable=False) as conn:
                conn.execute(sa.update(tokens).where(self._mine, tokens.c.id == id).values(used_at=now))

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return tokens.c.project == self._db.project

    def _record(
        self, conn: sa.Connection, actor: str, action: str, name: str, before: str | None, after: str | None
    ) -> None:
        record(conn, self._db.project, self._db.clock(), actor, action, f"token/{name}", before, after)
