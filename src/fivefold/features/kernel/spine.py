"""The spine in chunks that fit in memory, in its own order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyarrow as pa

from fivefold.features.kernel.relation import BATCH, Engine, as_item, explained, read_within


def chunks_of(at: Engine, spine: pa.Table | str, budget: int, width: int) -> tuple[int, Iterator[pa.Table]]:
    """How many chunks the spine makes, and the chunks: at least one, none above `budget` bytes if a row is not.

    `width` is what the join adds to each row, in bytes. SQL is run once: a result that does not fit is kept in a file.
    """
    if isinstance(spine, pa.Table):
        return _slices([spine], max(1, int(budget // (width + spine.nbytes / max(spine.num_rows, 1)))))
    query = f"SELECT * FROM {as_item(spine)}"
    table, row_size = read_within(at, query, budget, "the spine")
    rows = max(1, int(budget // (width + row_size)))
    return _slices([table] if table is not None else _stored(at, query, min(rows, BATCH)), rows)


def _slices(tables: list[pa.Table], rows: int) -> tuple[int, Iterator[pa.Table]]:
    cuts = [(t, start) for t in tables for start in range(0, max(t.num_rows, 1), rows)]
    return len(cuts), (table.slice(start, rows) for table, start in cuts)


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
