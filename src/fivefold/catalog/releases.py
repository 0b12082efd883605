"""The privacy ledger: a release of something made of protected rows is written here before it happens, or refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.database import Database
from fivefold.catalog.tables import metadata
from fivefold.core.errors import Conflict, Invalid

releases = sa.Table(
    "ff_releases",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("ledger", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "what", "curve")),
    *(sa.Column(name, sa.Double, nullable=False) for name in ("epsilon", "delta")),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Index("uq_ff_releases_key", "project", "ledger", "key", unique=True),
)

Curve = tuple[float, ...]
"""What a release spends at each of some orders, all releases of a ledger having the same ones: curves add up."""
MOST = 1000


class Release(msgspec.Struct, frozen=True):
    """One release: the `number`-th of its ledger, what it was, what it spent, and the epsilon of all until then."""

    ledger: str
    number: int
    key: str
    what: str
    curve: Curve
    epsilon: float
    delta: float
    at: int


_COLUMNS = tuple(releases.c[field] for field in Release.__struct_fields__)


class Releases:
    """The ledgers of a project, each about one set of protected rows or sites."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def spend(
        self,
        ledger: str,
        key: str,
        what: str,
        curve: Sequence[float],
        *,
        epsilon_of: Callable[[Curve, float], float],
        budget: float,
        delta: float,
    ) -> Release:
        """Write a release down, durably, if it and all before it stay within a budget; only then may it happen.

        `epsilon_of(curve, delta)` is the epsilon of added-up curves. The same key again with the same curve is the same
        release, already paid. Raises Conflict when the budget would be exceeded or the key was another release, Invalid
        for a curve that is no curve or one of other orders than those before it.
        """
        bounds.name(ledger, "ledger")
        bounds.name(key, "key")
        bounds.text(what, "what")
        spent = tuple(float(v) for v in curve)
        if not 1 <= len(spent) <= MOST or not all(0 <= v < math.inf for v in spent):
            raise Invalid(f"{ledger}: a curve of {len(spent)} values (accepted: 1 to {MOST}, finite, none below 0).")
        with self._db.write("ledger", ledger) as conn:
            known = self._read(conn, ledger)
            for release in known:
                if release.key == key:
                    if release.curve != spent or release.what != what:
                        raise Conflict(f"{ledger}: {key!r} is another release already, {release.what!r}.")
                    return release
            if known and len(known[0].curve) != len(spent):
                raise Invalid(f"{ledger}: curves have {len(known[0].curve)} orders, and this one {len(spent)}.")
            total = tuple(sum(values) for values in zip(*(r.curve for r in known), spent, strict=True))
            epsilon = epsilon_of(total, delta)
            # written so that an epsilon that is no number is refused
            if not epsilon <= budget:
                raise Conflict(
                    f"{ledger}: {what} would make epsilon {epsilon:.4g} at delta {delta:g}, and the budget is "
                    f"{budget:g}{_already(known, epsilon_of, delta)}.",
                    hint="It was not released. Whoever raises the budget changes a promise.",
                )
            made = Release(ledger, len(known) + 1, key, what, spent, epsilon, delta, self._db.clock())
            values = {**msgspec.structs.asdict(made), "project": self._db.project, "curve": json.dumps(spent)}
            conn.execute(sa.insert(releases), values)
        return made

    def of(self, ledger: str) -> tuple[Release, ...]:
        """The releases of a ledger, in order."""
        with self._db.read() as conn:
            return self._read(conn, ledger)

    def ledgers(self) -> tuple[Release, ...]:
        """The last release of each ledger, by name: what was spent until now."""
        mine = releases.c.project == self._db.project
        last = sa.select(releases.c.ledger, sa.func.max(releases.c.number)).where(mine).group_by(releases.c.ledger)
        with self._db.read() as conn:
            found = conn.execute(last).all()
            return tuple(self._read(conn, ledger)[number - 1] for ledger, number in sorted(found))

    def _read(self, conn: sa.Connection, ledger: str) -> tuple[Release, ...]:
        found = sa.select(*_COLUMNS).where(releases.c.project == self._db.project, releases.c.ledger == ledger)
        rows = conn.execute(found.order_by(releases.c.number)).mappings().all()
        return tuple(Release(**{**row, "curve": tuple(json.loads(row["curve"]))}) for row in rows)


def _already(known: Sequence[Release], epsilon_of: Callable[[Curve, float], float], delta: float) -> str:
    if not known:
        return ""
    total = tuple(sum(values) for values in zip(*(r.curve for r in known), strict=True))
    return f"; {len(known)} releases have spent {epsilon_of(total, delta):.4g} of it"
