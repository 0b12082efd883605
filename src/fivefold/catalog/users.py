"""The users of a project: their names, the hashes of their passwords, and whether they are let in."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.grants import principal
from fivefold.catalog.tables import users
from fivefold.core.errors import Conflict, NotFound
from fivefold.core.identity import Principal, identity_name


class User(msgspec.Struct, frozen=True):
    """A user; times are microseconds UTC. One without a password can only be known by a client certificate."""

    name: str
    has_password: bool
    created_at: int
    disabled_at: int | None


class Users:
    """The users of a project. Passwords come as hashes and never leave as part of a `User`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, name: str, password: str | None, *, actor: str) -> User:
        """A new user, with the hash of a password. Raises Invalid for a bad name, Conflict for one that is there."""
        name = identity_name(name, "user")
        with self._db.write("identity") as conn:
            if self._row(conn, name) is not None:
                raise Conflict(
                    f"there is a user {name!r} already.",
                    hint=f"`fivefold users password {name}` changes the password, `fivefold users enable {name}` "
                    "lets a disabled one in again.",
                )
            now = self._db.clock()
            values = {"name": name, "password": password, "created_at": now, "disabled_at": None}
            conn.execute(sa.insert(users), {"project": self._db.project, **values})
            self._record(conn, actor, "add", name, None, "enabled")
        return User(name, password is not None, now, None)

    def set_password(self, name: str, password: str, *, actor: str) -> None:
        """Put the hash of another password in place of the one there is. Raises NotFound."""
        with self._db.write("identity") as conn:
            name = self._require(conn, name).name
            conn.execute(sa.update(users).where(self._mine, users.c.name == name).values(password=password))
            self._record(conn, actor, "password", name, None, None)

    def disable(self, name: str, *, actor: str) -> None:
        """Let a user in no more; twice is once. Raises NotFound."""
        self._turn(name, self._db.clock(), actor)

    def enable(self, name: str, *, actor: str) -> None:
        """Let a disabled user in again; twice is once. Raises NotFound."""
        self._turn(name, None, actor)

    def all(self) -> tuple[User, ...]:
        """Every user, by name."""
        found = sa.select(users).where(self._mine).order_by(users.c.name)
        with self._db.read() as conn:
            return tuple(_user(row) for row in conn.execute(found).all())

    def find(self, name: str) -> tuple[Principal, str | None] | None:
        """Who a user is, and the hash of the password; None for one that is not there or is disabled."""
        with self._db.read() as conn:
            row = self._row(conn, name)
            # read in any case: how long an answer takes must not say who there is
            found = principal(conn, self._db.project, "user", name)
        return None if row is None or row.disabled_at is not None else (found, row.password)

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return users.c.project == self._db.project

    def _row(self, conn: sa.Connection, name: str) -> sa.Row[tuple[object, ...]] | None:
        return conn.execute(sa.select(users).where(self._mine, users.c.name == name)).first()

    def _require(self, conn: sa.Connection, given: str) -> User:
        name = identity_name(given, "user")
        row = self._row(conn, name)
        if row is None:
            raise NotFound.named("user", name, conn.execute(sa.select(users.c.name).where(self._mine)).scalars())
        return _user(row)

    def _turn(self, name: str, disabled_at: int | None, actor: str) -> None:
        with self._db.write("identity") as conn:
            user = self._require(conn, name)
            if (user.disabled_at is None) == (disabled_at is None):
                return
            conn.execute(sa.update(users).where(self._mine, users.c.name == user.name).values(disabled_at=disabled_at))
            states = ("enabled", "disabled") if disabled_at is not None else ("disabled", "enabled")
            self._record(conn, actor, "enable" if disabled_at is None else "disable", user.name, *states)

    def _record(
        self, conn: sa.Connection, actor: str, action: str, name: str, before: str | None, after: str | None
    ) -> None:
        record(conn, self._db.project, self._db.clock(), actor, f"user-{action}", f"user/{name}", before, after)


def _user(row: sa.Row[tuple[object, ...]]) -> User:
    return User(row.name, row.password is not None, row.created_at, row.disabled_at)
