"""Reading relations through DuckDB as canonical Arrow columns: int64, float64, bool, text, and times as int64 µs."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from fivefold.core.errors import FivefoldError, Invalid, NotFound, Unavailable, Unsupported
from fivefold.core.types import Type, of_duckdb
from fivefold.features.kernel.arrow import HOLDS

BATCH = 1 << 20
_LEAST_FOR_DUCKDB = 128 * 2**20


class Engine:
    """One DuckDB connection, used by one thread at a time, and a folder for what does not fit in memory.

    Use it as a context. The caller's connection is used as it is; else our own, held to `memory` bytes and `threads`,
    is opened when it is first needed.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection | None, memory: int, threads: int) -> None:
        self.lock = threading.RLock()
        self._given = connection
        self._own: duckdb.DuckDBPyConnection | None = None
        self._limits: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{max(memory, _LEAST_FOR_DUCKDB)}B",
            "threads": threads,
        }
        self._folder: Path | None = None

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            self._own.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """A folder of our own, gone when the engine is."""
        with self.lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="fivefold-asof-"))
            return self._folder

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection; hold the lock while using it."""
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = duckdb.connect(
                config=self._limits
                | {
                    "temp_directory": str(self.folder / "duckdb"),
                    "arrow_large_buffer_size": True,
                    "python_enable_replacements": False,
                }
            )
            self._own.execute("SET TimeZone = 'UTC'")
        return self._own


def as_item(relation: str) -> str:
    """The relation as it can stand after FROM: a SELECT gets parentheses."""
    words = relation.split(None, 1)
    return f"({relation})" if words and words[0].lower() in ("select", "with", "from", "values") else relation


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """DuckDB's errors as ours, naming `what` was read."""
    try:
        yield
    except FivefoldError:
        raise
    except duckdb.IOException as error:
        raise NotFound(f"{what}: {_first_line(error)}") from error
    except duckdb.OutOfMemoryException as error:
        raise Unavailable(f"{what}: {_first_line(error)}", hint="Allow more memory.") from error
    except duckdb.NotImplementedException as error:
        raise Unsupported(f"{what}: {_first_line(error)}") from error
    except duckdb.Error as error:
        raise Invalid(f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def types_of(at: Engine, relation: str, what: str) -> dict[str, str]:
    """The DuckDB type of each column of a relation, without reading it."""
    with at.lock, explained(what):
        described = at.connection.sql(f"SELECT * FROM {as_item(relation)} LIMIT 0")
        return {name: str(kind) for name, kind in zip(described.columns, described.types, strict=True)}


def canonical(column: str, have: dict[str, str], kind: Type | None, what: str) -> str:
    """SQL for a column in its canonical form; `kind` None means its own type.

    Raises NotFound for a column that does not exist and Invalid for one of a type that `kind` cannot hold.
    """
    if column not in have:
        raise NotFound.named(f"column of {what}", column, have)
    duck, sql = have[column], quoted(column)
    own = of_duckdb(duck)
    kind = kind or own
    if kind is None or own not in HOLDS[kind]:
        raise Invalid(
            f"{what}: column {column!r} is {duck}, wanted {kind or 'one of the five column types'}.",
            hint="Cast it in the relation.",
        )
    if kind is Type.TIMESTAMP and own is Type.TIMESTAMP:
        if duck == "TIMESTAMP_NS":  # floor, also before 1970
            return f"CAST((epoch_ns({sql}) - (epoch_ns({sql}) % 1000 + 1000) % 1000) // 1000 AS BIGINT)"
        return f"epoch_us({sql})" if duck.startswith("TIMESTAMP") else f"epoch_us(CAST({sql} AS TIMESTAMP))"
    wanted = {
        Type.INT64: "BIGINT",
        Type.FLOAT64: "DOUBLE",
        Type.BOOL: "BOOLEAN",
        Type.STRING: "VARCHAR",
        Type.TIMESTAMP: "BIGINT",
    }[kind]
    return sql if duck == wanted else f"CAST({sql} AS {wanted})"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def read_within(at: Engine, query: str, budget: int, what: str) -> tuple[pa.Table | None, float]:
    """The rows of a query, or None when they are more than `budget` bytes; and the bytes a row takes."""
    with at.lock, explained(what):
        reader = at.connection.sql(query).to_arrow_reader(BATCH)
        batches, size, rows = [], 0, 0
        # DuckDB refuses other work on the connection while a result is open
        with contextlib.closing(reader):
            for batch in reader:
                batches.append(batch)
                size, rows = size + batch.nbytes, rows + batch.num_rows
                if size > budget:
                    return None, size / rows
            return pa.Table.from_batches(batches, reader.schema), size / max(rows, 1)


def count_rows(at: Engine, relation: str, what: str) -> int:
    with at.lock, explained(what):
        return int(at.connection.execute(f"SELECT count(*) FROM {as_item(relation)}").fetchall()[0][0])


def split(at: Engine, query: str, keys: Sequence[str], parts: int, name: str, what: str) -> list[str]:
    """Write the rows of a query once, parted by the hash of `keys`; returns a query for each part that has rows."""
    folder = at.folder / name
    part = f"CAST(hash({', '.join(keys)}) % {parts} AS INTEGER)"
    with at.lock, explained(what):
        at.connection.execute(
            f"COPY (SELECT *, {part} AS part FROM ({query})) TO '{folder}' "
            "(FORMAT parquet, PARTITION_BY (part), OVERWRITE_OR_IGNORE)"
        ).fetchall()
    return [
        f"SELECT * FROM read_parquet('{one}/*.parquet', hive_partitioning = false)"
        for one in sorted(folder.glob("part=*"))
    ]
