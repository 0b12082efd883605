"""Runs inside Alembic: migrates the connection that `fivefold.catalog.migrate` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from fivefold.catalog.migrations import VERSION_TABLE
from fivefold.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    compare_type=True,
    include_name=lambda name, kind, _parents: kind != "table" or str(name).startswith("ff_"),
)
context.run_migrations()
