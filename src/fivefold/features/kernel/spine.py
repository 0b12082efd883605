"""The spine: in chunks that fit in memory, in its own order, and its keys and times in canonical form."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.types import Type
from fivefold.features.kernel.arrow import as_canonical, one_array, own_type
from fivefold.features.kernel.parquet import plain_files, row_groups
from fivefold.features.kernel.relation import BATCH, Engine, as_item, explained, read_within

Chunks = tuple[int, Iterator[pa.Table]]


def chunks_of(at: Engine, spine: pa.Table | str, budget: int, width: int) -> Chunks:
    """How many chunks the spine makes, and the chunks: at least one, none above `budget` bytes if a row is not.

    `width` is what the join adds to each row, in bytes. SQL is run once: a result that does not fit is kept in a file.
    """
    if isinstance(spine, pa.Table):
        return _slices([spine], max(1, int(budget // (width + spine.nbytes / max(spine.num_rows, 1)))))
    if (files := plain_files(spine)) is not None:
        return _of_files(files, budget, width)
    query = f"SELECT * FROM {as_item(spine)}"
    table, row_size = read_within(at, query, budget, "the spine")
    rows = max(1, int(budget // (width + row_size)))
    return _slices([table] if table is not None else _stored(at, query, min(rows, BATCH)), rows)


def _slices(tables: Sequence[pa.Table], rows: int) -> Chunks:
    cuts = [(t, start) for t in tables for start in range(0, max(t.num_rows, 1), rows)]
    return len(cuts), (table.slice(start, rows) for table, start in cuts)


def _of_files(files: Sequence[Path], budget: int, width: int) -> Chunks:
    groups, size, count = [], 0, 0
    for group in row_groups(files):
        groups.append(group)
        size, count = size + group.nbytes, count + group.num_rows
        if size + width * count > budget:
            break
    else:
        whole = pa.concat_tables(groups) if groups else pq.read_schema(files[0]).empty_table()
        return 1, iter([whole])
    rows = max(1, int(budget // (width + size / max(count, 1))))
    lengths = [file.row_group(n).num_rows for file in map(pq.read_metadata, files) for n in range(file.num_row_groups)]
    cuts = (group.slice(start, rows) for group in row_groups(files) for start in range(0, group.num_rows, rows))
    return sum(-(-length // rows) for length in lengths), cuts


def _stored(at: Engine, query: str, rows: int) -> list[pa.Table]:
    """The result of a query as memory-mapped tables of about `rows` rows each."""
    path = str(at.folder / "spine.arrow")
    with at.lock, explained("the spine"):
        reader = at.connection.sql(query).to_arrow_reader(rows)
        with contextlib.closing(reader), pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
    stored = pa.ipc.open_file(pa.memory_map(path))
    return [pa.Table.from_batches([stored.get_batch(i)]) for i in range(stored.num_record_batches)]


def key_column(spine: pa.Table, name: str) -> tuple[pa.Array, Type | None]:
    """A key column in canonical form and its type; None if it is of no type a column can have."""
    array = _column(spine, name)
    own = own_type(array.type)
    return (array, None) if own is None else (as_canonical(array, own, f"the spine: column {name!r}"), own)


def time_column(spine: pa.Table, name: str) -> pa.Array:
    """The query times as int64 µs. Raises Invalid for a column of another type."""
    array = _column(spine, name)
    if own_type(array.type) not in (Type.TIMESTAMP, Type.INT64):
        raise Invalid(f"the spine: column {name!r} is {array.type} (accepted: timestamp, date, int64 µs).")
    return as_canonical(array, Type.TIMESTAMP, f"the spine: column {name!r}")


def _column(spine: pa.Table, name: str) -> pa.Array:
    if name not in spine.column_names:
        raise NotFound.named("column of the spine", name, spine.column_names)
    array = one_array(spine.column(name))
    # the caller's dictionary may hold a text twice
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
