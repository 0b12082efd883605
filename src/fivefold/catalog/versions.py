"""Versions of models: immutable results, named by the digest of their inputs and numbered for people."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from fivefold.catalog import bounds
from fivefold.catalog.audit import record
from fivefold.catalog.database import Database
from fivefold.catalog.tables import runs, versions
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict, NotFound


class Version(msgspec.Struct, frozen=True):
    """`key`: the digest of the inputs; `artifact`: the digest of the packaged output; `info`: what else is known."""

    model: str
    number: int
    key: str
    run_id: str | None
    artifact: str
    info: Any
    created_at: int
    actor: str


_COLUMNS = tuple(versions.c[field] for field in Version.__struct_fields__)


class Versions:
    """The versions of a project's models."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def register(
        self, model: str, key: str, *, artifact: str, run_id: str | None = None, info: Json = None, actor: str = ""
    ) -> Version:
        """The version of `model` with this key: the one there is, else a new one under the next number.

        Raises NotFound for the run, Conflict when the key is there with another artifact: the same inputs made another
        output.
        """
        for value, where in ((model, "model"), (key, "version key"), (artifact, "artifact digest")):
            bounds.name(value, where)
        written = bounds.document(info, f"info of {model!r}")
        with self._db.write("versions", model) as conn:
            row = conn.execute(self._of(model).where(versions.c.key == key)).first()
            if row is not None:
                return _same(_from_row(row), artifact)
            if (
                run_id is not None
                and conn.execute(
                    sa.select(runs.c.id).where(runs.c.project == self._db.project, runs.c.id == run_id)
                ).first()
                is None
            ):
                raise NotFound(f"no run {run_id!r} in the project {self._db.project!r}.")
            last = conn.execute(
                sa.select(sa.func.max(versions.c.number)).where(
                    versions.c.project == self._db.project, versions.c.model == model
                )
            ).scalar()
            made = Version(model, (last or 0) + 1, key, run_id, artifact, info, self._db.clock(), actor)
            conn.execute(
                sa.insert(versions), {"project": self._db.project, **msgspec.structs.asdict(made), "info": written}
            )
            record(
                conn,
                self._db.project,
                made.created_at,
                actor,
                "register",
                f"model/{model}",
                None,
                key,
                f"version {made.number}, artifact {artifact}",
            )
        return made

    def get(self, model: str, number: int) -> Version:
        """A version by its number; raises NotFound saying what there is."""
        with self._db.read() as conn:
            row = conn.execute(self._of(model).where(versions.c.number == number)).first()
            if row is None:
                raise _missing(conn, self._db.project, model, str(number))
        return _from_row(row)

    def by_key(self, model: str, key: str) -> Version | None:
        """The version of a model with this key, or None."""
        with self._db.read() as conn:
            row = conn.execute(self._of(model).where(versions.c.key == key)).first()
        return _from_row(row) if row else None

    def list(self, model: str | None = None, *, limit: int = 1000, before: int | None = None) -> tuple[Version, ...]:
        """Versions of one model (of all when None), the newest first; `before` reads on from a number."""
        found = self._of(model)
        if before is not None:
            found = found.where(versions.c.number < before)
        with self._db.read() as conn:
            rows = conn.execute(
                found.order_by(versions.c.created_at.desc(), versions.c.model, versions.c.number.desc()).limit(
                    bounds.page_size(limit, 10_000)
                )
            ).all()
        return tuple(map(_from_row, rows))

    def models(self) -> dict[str, int]:
        """Every model that has versions, with its newest number."""
        with self._db.read() as conn:
            rows = conn.execute(
                sa.select(versions.c.model, sa.func.max(versions.c.number))
                .where(versions.c.project == self._db.project)
                .group_by(versions.c.model)
                .order_by(versions.c.model)
            ).all()
        return {row[0]: row[1] for row in rows}

    def _of(self, model: str | None) -> sa.Select[Any]:
        found = sa.select(*_COLUMNS).where(versions.c.project == self._db.project)
        return found if model is None else found.where(versions.c.model == model)


def _same(held: Version, artifact: str) -> Version:
    if held.artifact != artifact:
        raise Conflict(
            f"version {held.number} of {held.model!r} has the same inputs (key {held.key}) but the artifact "
            f"{held.artifact}, not {artifact}.",
            hint="The training is not repeatable: fix its seed and threads, or add what differs to its key.",
        )
    return held


def _missing(conn: sa.Connection, project: str, model: str, number: str) -> NotFound:
    have = (
        conn.execute(
            sa.select(versions.c.number)
            .where(versions.c.project == project, versions.c.model == model)
            .order_by(versions.c.number)
        )
        .scalars()
        .all()
    )
    if have:
        return NotFound.named(f"version of {model!r}", number, map(str, have))
    models = conn.execute(sa.select(versions.c.model).distinct().where(versions.c.project == project)).scalars().all()
    return NotFound.named("model with versions", model, models)


def _from_row(row: sa.Row[Any]) -> Version:
    fields = row._asdict()
    return Version(**{**fields, "info": bounds.read(fields["info"])})
