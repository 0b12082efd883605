"""Bringing a catalog's schema to this version: one transaction under a lock, so a killed migration leaves nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from fivefold.catalog.database import Database, begin_sqlite, translated
from fivefold.catalog.migrations import REVISIONS, VERSION_TABLE
from fivefold.core.errors import Unsupported

_LOCK = 0x66697665666F6C64  # "fivefold"


def migrate(database: Database) -> None:
    """Migrates to the newest revision known; does nothing when it is there.

    Raises Unsupported when the database is of a revision this version does not know.
    """
    with translated(database.engine):
        with database.read() as conn:
            found = current_revision(conn)
        if found == REVISIONS[-1]:
            return
        _refuse_newer(found)
        with _alone(database) as conn:
            # another process may have migrated while this one waited for the lock
            found = current_revision(conn)
            _refuse_newer(found)
            if found != REVISIONS[-1]:
                _upgrade(conn)


def current_revision(conn: sa.Connection) -> str | None:
    """The revision a database is of; None for an empty one."""
    if not sa.inspect(conn).has_table(VERSION_TABLE):
        return None
    return conn.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in REVISIONS:
        raise Unsupported(
            f"the catalog is of schema {found!r}, this fivefold knows up to {REVISIONS[-1]!r}.",
            hint="It was written by a newer version: upgrade with pip install -U fivefold.",
        )


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[sa.Connection]:
    with database.engine.connect() as conn, conn.begin():
        if database.lite:
            begin_sqlite(conn, "BEGIN IMMEDIATE")
        else:
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        yield conn


def _upgrade(conn: sa.Connection) -> None:
    # imported here: most openings find nothing to migrate, and Alembic takes longer to load than they take
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
