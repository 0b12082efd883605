"""The columns of every source of a project, found without reading its rows where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import duckdb

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.lineage import tables_used
from fivefold.core.project import Project
from fivefold.core.sources import Stream, Table, View
from fivefold.core.types import Schema
from fivefold.data.derive import view_schema
from fivefold.data.duck import first_line
from fivefold.data.ingest import Places, table_schema
from fivefold.data.snapshots import Snapshot
from fivefold.ports.tables import TableReader


def inspect(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    reader: Callable[[Table], TableReader],
    before: Mapping[str, Snapshot],
    places: Places,
    written: frozenset[str] = frozenset(),
) -> tuple[dict[str, Schema], list[FivefoldError]]:
    """Schemas by source name, and what went wrong; a source that could not be inspected has no schema.

    Tables in `written` are outputs of the project: they need not exist.
    """
    schemas: dict[str, Schema] = {}
    errors: list[FivefoldError] = []
    for noun in project.of(Table.kind, View.kind, Stream.kind):
        try:
            if isinstance(noun, Stream):
                schemas[noun.name] = noun.schema
            elif isinstance(noun, View):
                if all(t in schemas for t in tables_used(noun.sql, noun.ref)):
                    schemas[noun.name] = view_schema(connection, noun, schemas)
            elif isinstance(noun, Table) and noun.name not in written:
                schemas[noun.name] = table_schema(connection, noun, reader(noun), places, before=before.get(noun.name))
        except FivefoldError as e:
            e.message = e.message if noun.ref in e.message else f"{noun.ref}: {e.message}"
            errors.append(e)
        except duckdb.Error as e:
            errors.append(Invalid(f"{noun.ref}: {first_line(e)}"))
    return schemas, errors
