"""Rows as Parquet files below a folder, in hive folders when they are partitioned: equal rows give equal bytes."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.errors import Invalid, Unavailable

NULL = "__HIVE_DEFAULT_PARTITION__"
MOST_FOLDERS = 5_000
"""So many folders of one chunk can be remembered by its step."""

_LONGEST_NAME = 255


def write_parts(table: pa.Table, by: Sequence[str], folder: Path, name: str) -> dict[str, str]:
    """Write rows, in their order, as `name` below the folder of their values of `by`: `day=2013-12-31/NAME`.

    Returns file names with their SHA-256. No rows make no file when they are partitioned: a folder has a value. Raises
    Invalid for values that no folder can be called after, Unavailable when the disk is full.
    """
    if not by:
        return {name: write_part(table, folder / name)}
    groups: dict[str, list[int]] = {}
    for i, values in enumerate(zip(*[table[c].to_pylist() for c in by], strict=True)):
        groups.setdefault("/".join(map(_folder_name, by, values)), []).append(i)
        if len(groups) > MOST_FOLDERS:
            raise Invalid(
                f"partition={', '.join(by)} makes more than {MOST_FOLDERS} folders of {i + 1} rows.",
                hint="Partition by something coarser, for instance a day.",
            )
    rows = table.drop_columns(list(by))
    return {
        f"{where}/{name}": write_part(rows.take(pa.array(places)), folder / where / name)
        for where, places in sorted(groups.items())
    }


def write_part(table: pa.Table, path: Path) -> str:
    """One pinned call, so that equal rows are equal bytes; the file has its name only once it is whole.

    Returns its SHA-256. Raises Unavailable when it cannot be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            pq.write_table(
                table.combine_chunks(), temporary, compression="zstd", row_group_size=131_072, store_schema=False
            )
            with temporary.open("rb") as f:
                os.fsync(f.fileno())
                found = hashlib.file_digest(f, "sha256").hexdigest()
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as e:
        raise Unavailable(
            f"cannot write {path}: {e.strerror or e}.",
            hint="Free some space and run it again: it goes on where it was.",
        ) from e
    return found


def _folder_name(column: str, value: object) -> str:
    """`column=value` as hive writes it: what could be misread in a path is percent-encoded, null has a name."""
    if value is None:
        text = NULL
    else:
        written = str(value).lower() if isinstance(value, bool) else str(value)
        # the first letter of a text that looks like the name of null is encoded, so that it is not read as null
        text = "%5F" + NULL[1:] if written == NULL else quote(written, safe=" -_:+,")
    name = f"{quote(column, safe=' -_')}={text}"
    if len(name) > _LONGEST_NAME:
        raise Invalid(
            f"the partition {column}={str(value)[:60]!r}… makes a folder's name of {len(name)} bytes (accepted: "
            f"{_LONGEST_NAME}).",
            hint="Partition by something shorter.",
        )
    return name
