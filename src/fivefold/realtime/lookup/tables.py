"""Rows and features as Arrow IPC streams."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.time import moment
from fivefold.core.types import Type
from fivefold.realtime.lookup.service import Found
from fivefold.realtime.protocols.bounds import MOST_ROWS

ARROW_STREAM = b"application/vnd.apache.arrow.stream"

_TIME = pa.timestamp("us", "UTC")
_TYPES = {
    Type.INT64: pa.int64(),
    Type.FLOAT64: pa.float64(),
    Type.BOOL: pa.bool_(),
    Type.STRING: pa.string(),
    Type.TIMESTAMP: _TIME,
}


def found_table(found: Found) -> pa.Table:
    """A column a feature, then its `NAME__status` and `NAME__time`; the moment and what it is made of as metadata."""
    columns: dict[str, pa.Array] = {}
    for (name, kind), values, statuses, times in zip(
        found.types.items(), found.values, found.statuses, found.event_times, strict=True
    ):
        columns[name] = pa.array(values, pa.int64() if kind is Type.TIMESTAMP else _TYPES[kind]).cast(_TYPES[kind])
        columns[f"{name}__status"] = pa.array(statuses, pa.string())
        columns[f"{name}__time"] = pa.array(times, pa.int64()).cast(_TIME)
    return pa.table(columns).replace_schema_metadata({"as_of": moment(found.as_of)})


def written(table: pa.Table) -> bytes:
    """A table as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def rows_of_stream(raw: bytes) -> list[dict[str, Any]]:
    """The rows of an IPC stream; times become microseconds. Raises Invalid for what is no stream, or is too long."""
    batches, count = [], 0
    try:
        with pa.ipc.open_stream(raw) as reader:
            for batch in reader:
                batch.validate(full=True)
                count += batch.num_rows
                if count > MOST_ROWS:
                    raise Invalid(f"the Arrow stream has more than {MOST_ROWS} rows.", hint="Send fewer at once.")
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
        return list(pa.table({n: _plain(table.column(n)) for n in table.column_names}).to_pylist())
    except (pa.ArrowException, OSError, ValueError, OverflowError) as e:
        raise Invalid(f"the rows are no Arrow IPC stream of plain columns: {str(e)[:200]}.") from None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.timestamp("us")).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
