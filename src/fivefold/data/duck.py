"""DuckDB, set up the same way everywhere: UTC, bounded memory, spilling to disk, no downloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from fivefold.core.errors import FivefoldError, Invalid, Unavailable
from fivefold.core.types import Schema, Type, of_duckdb


@contextmanager
def connect(scratch: Path, *, memory: str = "2GB", threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database that spills into `scratch`. DuckDB's own errors leave it as ours."""
    scratch.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "threads": str(threads),
            "memory_limit": memory,
            "temp_directory": str(scratch),
            "preserve_insertion_order": "true",
        }
    )
    try:
        connection.execute("set timezone = 'UTC'")
        yield connection
    except duckdb.OutOfMemoryException as e:
        raise Unavailable(
            f"a query needs more memory than the {memory} allowed, even spilling to {scratch}.",
            hint="Raise [data] memory in fivefold.toml, or use smaller partitions.",
        ) from e
    except duckdb.IOException as e:
        if "No space left" in str(e):
            raise Unavailable(f"the disk is full: {first_line(e)}", hint="Free some space and run it again.") from e
        raise Invalid(f"cannot read: {first_line(e)}") from e
    except duckdb.Error as e:
        raise Invalid(first_line(e)) from e
    finally:
        connection.close()


def first_line(error: Exception) -> str:
    """A DuckDB error without its stack of hints."""
    return str(error).strip().splitlines()[0]


def ident(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A quoted string literal."""
    return "'" + value.replace("'", "''") + "'"


def parquet(files: Sequence[Path | str]) -> str:
    """A relation over Parquet files, rows in the files' order."""
    return f"read_parquet([{', '.join(text(str(f)) for f in files)}])"


def only(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The one row of a query, read to its end: a result left open would block the connection."""
    (row,) = connection.execute(query).fetchall()
    return tuple(row)


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Column names and DuckDB types of a SELECT or relation."""
    rows = connection.execute(f"describe select * from {relation}").fetchall()
    return {row[0]: row[1] for row in rows}


def type_of(duckdb_type: str, where: str) -> Type:
    """The one of our five types that a DuckDB type becomes.

    Raises Invalid, naming `where`, for nested and binary types.
    """
    # a column of nothing but nulls has no type of its own
    found = Type.STRING if duckdb_type.strip('"') == "NULL" else of_duckdb(duckdb_type)
    if found is not None:
        return found
    raise Invalid(
        f"{where} is {duckdb_type}, which no feature can be.",
        hint="Select parts of it in a view, cast it, or leave it out.",
    )


def as_schema(columns: dict[str, str], where: str) -> dict[str, Type]:
    """Our schema for described columns; every column that fits no type is reported at once."""
    out: dict[str, Type] = {}
    errors: list[FivefoldError] = []
    for name, kind in columns.items():
        try:
            out[name] = type_of(kind, f"{where}: column {name!r}")
        except Invalid as e:
            errors.append(e)
    if errors:
        raise errors[0] if len(errors) == 1 else Invalid(" ".join(e.message for e in errors), hint=errors[0].hint)
    return out


_DUCKDB = {Type.INT64: "BIGINT", Type.FLOAT64: "DOUBLE", Type.BOOL: "BOOLEAN", Type.STRING: "VARCHAR"}


def cast(column: str, kind: Type, have: str, *, attempt: bool) -> str:
    """SQL that makes a column of DuckDB type `have` one of our types; `attempt` gives null where a value does not fit.

    Instants with a zone become UTC; a float NaN becomes null, -0.0 becomes 0.0.
    """
    verb = "try_cast" if attempt else "cast"
    name = ident(column)
    if kind is Type.TIMESTAMP:
        if have == "VARCHAR":
            # a text may carry its own zone; without one it is UTC, which is also the session's zone
            return f"cast({verb}({name} as timestamptz) as timestamp)"
        return f"{verb}({name} as timestamp)"
    if kind is Type.FLOAT64:
        value = f"{verb}({name} as double)"
        return f"case when isnan({value}) then null else {value} + 0.0 end"
    if kind is Type.INT64 and have in ("DOUBLE", "FLOAT", "VARCHAR") and attempt:
        # a cast would round 1.5 in silence
        number = f"try_cast({name} as double)"
        return f"case when {number} = floor({number}) then try_cast({name} as bigint) end"
    return f"{verb}({name} as {_DUCKDB[kind]})"


def empty_table(connection: duckdb.DuckDBPyConnection, name: str, schema: Schema) -> None:
    """Create an empty table of a schema, so that SQL can be bound without any data."""
    columns = ", ".join(f"{ident(c)} {'TIMESTAMP' if k is Type.TIMESTAMP else _DUCKDB[k]}" for c, k in schema.items())
    connection.execute(f"create or replace table {ident(name)} ({columns})")
