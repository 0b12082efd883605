"""Grants: the role of a user, token or group in a project, and who is in which group."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.tables import grants, members, tokens, users
from fivefold.core.errors import Invalid, NotFound
from fivefold.core.identity import Principal, Role, identity_name, up_to

KINDS = ("user", "token", "group")


class Access(msgspec.Struct, frozen=True):
    """What somebody may do, and through what: their own name, or a group's. No role is none at all."""

    who: str
    role: Role | None
    through: str | None
    groups: tuple[str, ...]


class Grants:
    """Roles and groups of a project.

    `who` is `user:ann`, `token:ci`, `group:team`, or a name that only one of them has.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    def grant(self, who: str, role: Role, *, actor: str) -> str:
        """Give somebody a role, in place of the one they have; twice is once. Gives who it was.

        Raises NotFound for somebody who is not there, Invalid for a name that several have.
        """
        with self._db.write("identity") as conn:
            found = self._resolve(conn, who)
            before = self._role(conn, found)
            if before != role:
                values = {"project": self._db.project, "who": found, "role": str(role), "at": self._db.clock()}
                insert = self._db.insert(grants).values(values)
                conn.execute(insert.on_conflict_do_update(index_elements=["project", "who"], set_=values))
                self._record(conn, actor, "grant", found, before, str(role))
        return found

    def revoke(self, who: str, *, actor: str) -> str:
        """Take the role of somebody away; twice is once. What their groups have is left. Raises as `grant` does."""
        with self._db.write("identity") as conn:
            found = self._resolve(conn, who)
            before = self._role(conn, found)
            if before is not None:
                conn.execute(sa.delete(grants).where(grants.c.project == self._db.project, grants.c.who == found))
                self._record(conn, actor, "revoke", found, before, None)
        return found

    def join(self, group: str, who: str, *, actor: str) -> str:
        """Put a user or a token into a group, which is there from its first member on. Raises as `grant` does."""
        group = identity_name(group, "group")
        with self._db.write("identity") as conn:
            found = self._resolve(conn, who, KINDS[:2])
            values = {"project": self._db.project, "group": group, "who": found}
            if found not in self._groups(conn).get(group, ()):
                conn.execute(sa.insert(members), values)
                self._record(conn, actor, "join", f"group:{group}", None, found)
        return found

    def leave(self, group: str, who: str, *, actor: str) -> str:
        """Take somebody out of a group; twice is once. Raises as `grant` does."""
        group = identity_name(group, "group")
        with self._db.write("identity") as conn:
            found = self._resolve(conn, who, KINDS[:2])
            mine = (members.c.project == self._db.project) & (members.c.group == group) & (members.c.who == found)
            if conn.execute(sa.delete(members).where(mine)).rowcount:
                self._record(conn, actor, "leave", f"group:{group}", found, None)
        return found

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The members of every group, by name."""
        with self._db.read() as conn:
            return self._groups(conn)

    def all(self) -> dict[str, Role]:
        """The role that was given to each, by who."""
        with self._db.read() as conn:
            return self._all(conn)

    def access(self) -> tuple[Access, ...]:
        """What every user and token may do, by who."""
        with self._db.read() as conn:
            names = [f"user:{n}" for n in conn.execute(_names(users, self._db.project)).scalars()]
            names += [f"token:{n}" for n in conn.execute(_names(tokens, self._db.project)).scalars()]
            groups, given = self._groups(conn), self._all(conn)
        made = []
        for who in sorted(names):
            mine = tuple(g for g, inside in groups.items() if who in inside)
            through = [t for t in (who, *(f"group:{g}" for g in mine)) if t in given]
            best = max(through, key=lambda t: len(up_to(given[t])), default=None)
            made.append(Access(who, given[best] if best else None, best, mine))
        return tuple(made)

    def anybody(self) -> bool:
        """Whether there is or ever was a user or a token: what once was closed is not opened by a revocation."""
        with self._db.read() as conn:
            return any(
                conn.execute(sa.select(sa.literal(1)).where(t.c.project == self._db.project).limit(1)).first()
                for t in (users, tokens)
            )

    def _resolve(self, conn: sa.Connection, who: str, kinds: tuple[str, ...] = KINDS) -> str:
        kind, colon, name = who.partition(":")
        if colon and kind not in kinds:
            raise Invalid(f"who: {who[:80]!r} is none of {', '.join(f'{k}:NAME' for k in kinds)}.")
        name = identity_name(name if colon else who, "who")
        have = [f"{k}:{n}" for k in kinds for n in self._named(conn, k)]
        found = (
            [h for h in have if h == f"{kind}:{name}"] if colon else [h for h in have if h.partition(":")[2] == name]
        )
        if not found:
            raise NotFound.named("user, token or group", who, have)
        if len(found) > 1:
            raise Invalid(f"who: {name!r} may be {' or '.join(found)}.", hint="Write which of them is meant.")
        return found[0]

    def _named(self, conn: sa.Connection, kind: str) -> list[str]:
        if kind == "group":
            # one that only has a role left can still lose it
            left = [w.partition(":")[2] for w in self._all(conn) if w.startswith("group:")]
            return sorted({*self._groups(conn), *left})
        return list(conn.execute(_names(users if kind == "user" else tokens, self._db.project)).scalars().all())

    def _groups(self, conn: sa.Connection) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        rows = conn.execute(
            sa.select(members.c.group, members.c.who)
            .where(members.c.project == self._db.project)
            .order_by(members.c.group, members.c.who)
        )
        for group, who in rows.all():
            found.setdefault(group, []).append(who)
        return {group: tuple(inside) for group, inside in found.items()}

    def _all(self, conn: sa.Connection) -> dict[str, Role]:
        rows = conn.execute(
            sa.select(grants.c.who, grants.c.role).where(grants.c.project == self._db.project).order_by(grants.c.who)
        )
        return {who: Role(role) for who, role in rows.all()}

    def _role(self, conn: sa.Connection, who: str) -> str | None:
        mine = (grants.c.project == self._db.project) & (grants.c.who == who)
        return conn.execute(sa.select(grants.c.role).where(mine)).scalar()

    def _record(
        self, conn: sa.Connection, actor: str, action: str, who: str, before: str | None, after: str | None
    ) -> None:
        subject = who.replace(":", "/", 1)
        record(conn, self._db.project, self._db.clock(), actor, action, subject, before, after)


def principal(conn: sa.Connection, project: str, kind: str, name: str) -> Principal:
    """A user or a token with the roles that it has itself and through its groups."""
    who = f"{kind}:{name}"
    inside = sa.select(members.c.group).where(members.c.project == project, members.c.who == who)
    groups = frozenset(conn.execute(inside).scalars())
    given = sa.select(grants.c.role).where(
        grants.c.project == project, grants.c.who.in_([who, *(f"group:{g}" for g in groups)])
    )
    roles = [up_to(Role(role)) for role in conn.execute(given).scalars()]
    return Principal(name, kind, max(roles, key=len, default=frozenset()), groups)


def _names(table: sa.Table, project: str) -> sa.Select[str]:
    return sa.select(table.c.name).where(table.c.project == project).distinct().order_by(table.c.name)
