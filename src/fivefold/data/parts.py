"""An immutable part: rows written as Parquet under the name of their content."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.errors import Unavailable
from fivefold.core.types import Schema, Type
from fivefold.data.snapshots import part_file

ROW_GROUP = 131_072


def write_part(reader: pa.RecordBatchReader, schema: Schema, tables: Path, source: str) -> tuple[str, int, int]:
    """Write batches as a Parquet part named by its content.

    Returns (digest, rows, bytes); equal rows in equal order give an equal digest.
    """
    target = arrow_schema(schema)
    folder = tables / source
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{uuid.uuid4().hex}.tmp"
    count = 0
    try:
        with pq.ParquetWriter(temporary, target, compression="zstd", store_schema=False) as writer:
            for table in _regrouped(reader, target):
                writer.write_table(table, row_group_size=ROW_GROUP)
                count += table.num_rows
        digest = _file_digest(temporary)
        size = temporary.stat().st_size
        with temporary.open("rb") as f:
            os.fsync(f.fileno())
        os.replace(temporary, part_file(tables, source, digest))
    except OSError as e:
        raise disk_error(e, folder) from e
    finally:
        temporary.unlink(missing_ok=True)
    return digest, count, size


def arrow_schema(schema: Schema) -> pa.Schema:
    """The Arrow types of a schema: timestamps are microseconds without a zone, meaning UTC."""
    kinds = {
        Type.INT64: pa.int64(),
        Type.FLOAT64: pa.float64(),
        Type.BOOL: pa.bool_(),
        Type.STRING: pa.string(),
        Type.TIMESTAMP: pa.timestamp("us"),
    }
    return pa.schema([(c, kinds[k]) for c, k in schema.items()])


def _regrouped(reader: pa.RecordBatchReader, target: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of one size, however the batches were cut, so that equal rows give equal files."""

    held: list[pa.Table] = []
    count = 0
    for batch in reader:
        held.append(pa.Table.from_batches([batch]).cast(target))
        count += batch.num_rows
        while count >= ROW_GROUP:
            whole = pa.concat_tables(held)
            yield whole.slice(0, ROW_GROUP).combine_chunks()
            held, count = [whole.slice(ROW_GROUP)], count - ROW_GROUP
    yield (pa.concat_tables(held) if held else target.empty_table()).combine_chunks()


def _file_digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then give it its name: a reader sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as e:
        raise disk_error(e, path.parent) from e
    finally:
        temporary.unlink(missing_ok=True)


def disk_error(error: OSError, folder: Path) -> Unavailable:
    return Unavailable(
        f"cannot write below {folder}: {error.strerror or error}.",
        hint="Free some space or check the folder's permissions, then run it again; nothing was changed.",
    )
