"""A view's rows as fixed records of 64-bit words, with texts in a heap behind them.

A record holds its time, a word of flags (bit i: column i is not null; bit 62: seq is not null), seq if the source has
one, then a word a column: an integer, the bits of a double, or the length of a text. The texts of all records follow
in the records' order. So the rows of many entities are joined, sorted and cut apart again by numpy alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fivefold.core.errors import Unsupported
from fivefold.core.types import Type
from fivefold.features.kernel.arrays import Array, Flags, Ints
from fivefold.features.kernel.columns import Column
from fivefold.features.kernel.plan import Source

TIME, FLAGS, SEQ = 0, 1, 2
SEQ_FLAG = 1 << 62
MOST_COLUMNS = 60

Cells = Any
"""A large_binary array with the texts of some rows, row by row and column by column within a row."""


class Rows(NamedTuple):
    """`words` has the shape (rows, width of the layout); `cells` the texts, None for a layout without any."""

    words: Ints
    cells: Cells | None

    def __len__(self) -> int:
        return len(self.words)


class Layout:
    """How the rows of one view are written."""

    def __init__(self, source: Source, seq: Type | None) -> None:
        self.columns = source.columns
        self.seq = seq
        if len(self.columns) > MOST_COLUMNS:
            raise Unsupported(
                f"feature view {source.name!r} uses {len(self.columns)} columns (accepted: {MOST_COLUMNS} at most).",
                hint="Make two views of it.",
            )
        self.first = SEQ + (seq is not None)
        self.width = self.first + len(self.columns)
        kinds = [*([seq] if seq is not None else []), *(kind for _, kind in self.columns)]
        self.texts = [SEQ + i for i, kind in enumerate(kinds) if kind is Type.STRING]
        self.record = struct.Struct("<qQ" + "".join("d" if kind is Type.FLOAT64 else "q" for kind in kinds))

    @property
    def size(self) -> int:
        """Bytes of a record without its texts."""
        return self.width * 8

    @cached_property
    def nothing(self) -> Rows:
        """No rows."""
        return self.rows(b"", b"")

    def place(self, column: str, kind: Type) -> int:
        """Which column, counted from 0, a name and type are."""
        return self.columns.index((column, kind))

    def rows(self, records: bytes | memoryview, heap: bytes | memoryview) -> Rows:
        """Rows of their bytes."""
        words = np.frombuffer(records, np.int64).reshape(-1, self.width)
        if not self.texts:
            return Rows(words, None)
        offsets = np.zeros(len(words) * len(self.texts) + 1, np.int64)
        np.cumsum(words[:, self.texts].ravel(), out=offsets[1:])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(heap)]
        return Rows(words, pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers))

    def made(self, time: Ints, seq: Column | None, columns: Sequence[Column]) -> Rows:
        """Rows of columns of equal length, in their order."""
        words = np.zeros((len(time), self.width), np.int64)
        words[:, TIME] = time
        texts: list[tuple[Column, Flags]] = []
        for place, of, flag in [
            *([(SEQ, seq, SEQ_FLAG)] if seq is not None else []),
            *((self.first + i, of, 1 << i) for i, of in enumerate(columns)),
        ]:
            valid = of.flags()
            words[:, FLAGS] |= np.where(valid, flag, 0)
            if of.type is Type.STRING:
                texts.append((of, valid))
            else:
                numbers = of.values.view(np.int64) if of.type is Type.FLOAT64 else of.values.astype(np.int64)
                words[:, place] = np.where(valid, numbers, 0)
        if not self.texts:
            return Rows(words, None)
        cells = _interleaved(texts, len(time))
        offsets = np.frombuffer(cells.buffers()[1], np.int64)[: len(cells) + 1]
        words[:, self.texts] = np.diff(offsets).reshape(-1, len(self.texts))
        return Rows(words, cells)

    def take(self, rows: Rows, order: Array) -> Rows:
        """The rows at some positions, in that order."""
        words = rows.words[order]
        if rows.cells is None:
            return Rows(words, None)
        each = np.arange(len(self.texts))
        at = (np.asarray(order, np.int64)[:, None] * len(self.texts) + each).ravel()
        return Rows(words, rows.cells.take(pa.array(at)))

    def join(self, parts: Sequence[Rows]) -> Rows:
        """Rows after each other."""
        if len(parts) == 1:
            return parts[0]
        words = np.concatenate([p.words for p in parts])
        return Rows(words, pa.concat_arrays([p.cells for p in parts]) if self.texts else None)

    def part(self, rows: Rows, start: int, stop: int) -> Rows:
        """Rows from a position up to another."""
        if rows.cells is None:
            return Rows(rows.words[start:stop], None)
        count = len(self.texts)
        return Rows(rows.words[start:stop], rows.cells.slice(start * count, (stop - start) * count))

    def values(self, rows: Rows, column: int) -> Array:
        """The values of a column as numbers, or as an object array of UTF-8 bytes; null rows hold anything."""
        return self._at(rows, self.first + column, self.columns[column][1])

    def seqs(self, rows: Rows) -> Array:
        """The values of seq, as `values`."""
        assert self.seq is not None
        return self._at(rows, SEQ, self.seq)

    def valid(self, rows: Rows, column: int) -> Flags:
        """Where a column is not null."""
        found: Flags = (rows.words[:, FLAGS] >> column) & 1 == 1
        return found

    def _at(self, rows: Rows, place: int, kind: Type) -> Array:
        if kind is Type.STRING:
            assert rows.cells is not None
            every = rows.cells.to_numpy(zero_copy_only=False)
            found: Array = every[self.texts.index(place) :: len(self.texts)]
            return found
        numbers = np.ascontiguousarray(rows.words[:, place])
        return numbers.view(np.float64) if kind is Type.FLOAT64 else numbers


def heap_of(cells: Cells | None) -> tuple[bytes, Ints]:
    """The bytes of texts, and where each begins; the last offset is the end."""
    if cells is None:
        return b"", np.zeros(1, np.int64)
    offsets = np.frombuffer(cells.buffers()[1], np.int64)[cells.offset : cells.offset + len(cells) + 1]
    data = cells.buffers()[2]
    if data is None:
        return b"", offsets - offsets[0]
    return memoryview(data)[int(offsets[0]) : int(offsets[-1])].tobytes(), offsets - offsets[0]


def _interleaved(texts: Sequence[tuple[Column, Flags]], rows: int) -> Cells:
    arrays = []
    for of, valid in texts:
        assert of.texts is not None
        codes = pa.array(of.values, mask=~valid)
        arrays.append(of.texts.cast(pa.large_binary()).take(codes).fill_null(b""))
    order = np.arange(rows * len(texts)).reshape(len(texts), rows).T.ravel()
    every = pa.concat_arrays(arrays) if arrays else pa.array([], pa.large_binary())
    return every.take(pa.array(order))
