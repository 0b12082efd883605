"""One source's answers for all rows of the spine, filled in part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from fivefold.core.types import Type
from fivefold.features.kernel import finish
from fivefold.features.kernel.aggregate import aggregated
from fivefold.features.kernel.arrays import Array, Flags, Ints, Values
from fivefold.features.kernel.arrow import one_array
from fivefold.features.kernel.columns import Column, column, kind_of, times_and_flags
from fivefold.features.kernel.duplicates import no_duplicates
from fivefold.features.kernel.keys import Entities, codes_of
from fivefold.features.kernel.plan import Aggregate, Source
from fivefold.features.kernel.rows import Queries, sort_rows
from fivefold.features.kernel.sources import ID, KEYS, SEQ, TIME, VALUE
from fivefold.features.kernel.windows import Windows

_ARROW = {Type.INT64: pa.int64(), Type.FLOAT64: pa.float64(), Type.TIMESTAMP: pa.timestamp("us", "UTC")}
_NUMPY = {
    Type.INT64: np.int64,
    Type.FLOAT64: np.float64,
    Type.BOOL: np.bool_,
    Type.STRING: np.int64,
    Type.TIMESTAMP: np.int64,
}


@dataclass
class _Filled:
    """One output column: values with nulls apart; of texts, positions among all texts seen so far."""

    type: Type
    values: Array
    valid: Flags
    texts: list[pa.Array] = field(default_factory=list)

    def put(self, at: Ints | None, given: Values, texts: pa.Array | None) -> None:
        """Set the rows `at`, or all."""
        if at is None:
            self.values, self.valid = given
        else:
            self.values[at] = given.values if texts is None else given.values + sum(map(len, self.texts))
            self.valid[at] = given.valid
        if texts is not None:
            self.texts.append(texts)

    def array(self) -> pa.Array:
        if self.type in _ARROW:
            bitmap = None if self.valid.all() else pa.py_buffer(np.packbits(self.valid, bitorder="little"))
            return pa.Array.from_buffers(_ARROW[self.type], len(self.values), [bitmap, pa.py_buffer(self.values)])
        mask = None if self.valid.all() else ~self.valid
        if self.type is Type.BOOL:
            return pa.array(self.values, mask=mask)
        if not self.texts:
            return pa.nulls(len(self.values), pa.string())
        texts = self.texts[0] if len(self.texts) == 1 else pa.concat_arrays(self.texts)
        return texts.take(pa.array(self.values, mask=mask)).cast(pa.string())


class Answers:
    """The output columns of one source for `rows` spine rows: at first what a window without rows gives."""

    def __init__(self, aggregates: tuple[Aggregate, ...], rows: int, event_times: bool) -> None:
        self.rows = rows
        self._aggregates = aggregates
        self._event_times = event_times
        self._columns: dict[str, _Filled] = {}

    def put(self, aggregate: Aggregate, at: Ints | None, given: Values, texts: pa.Array | None) -> None:
        """Set the values of spine rows `at`, or of all; texts are codes into `texts`."""
        self._column(aggregate).put(at, given, texts)

    def put_newest(self, aggregate: Aggregate, windows: Windows, time: Ints) -> None:
        """Set the event time of the newest row each window saw, if times are wanted; `time` is of the source rows."""
        if self._event_times:
            seen, position = windows.newest(aggregate)
            origin = windows.rows.origin
            newest = time[origin[position]] if len(origin) else position
            self._time(aggregate).put(windows.queries.at, Values(newest, seen), None)

    def arrays(self) -> Iterator[tuple[str, pa.Array]]:
        """The finished columns by name, each followed by its times."""
        for aggregate in self._aggregates:
            yield aggregate.name, self._column(aggregate).array()
            if self._event_times:
                yield f"{aggregate.name}__time", self._time(aggregate).array()

    def _column(self, of: Aggregate) -> _Filled:
        if of.name not in self._columns:
            self._columns[of.name] = self._nothing(of.result, finish.empty_is_zero(of.fn))
        return self._columns[of.name]

    def _time(self, of: Aggregate) -> _Filled:
        name = f"{of.name}__time"
        if name not in self._columns:
            self._columns[name] = self._nothing(Type.TIMESTAMP, False)
        return self._columns[name]

    def _nothing(self, kind: Type, valid: bool) -> _Filled:
        # zeros are not touched before they are written, so a column that is replaced whole costs nothing
        return _Filled(kind, np.zeros(self.rows, _NUMPY[kind]), np.full(self.rows, valid, np.bool_))


def answer(answers: Answers, source: Source, table: pa.Table, known: Entities, queries: Queries, is_all: bool) -> None:
    """Fill in what the rows of one part say; unless it `is_all`, only for the entities that are in it."""

    def read(name: str) -> pa.Array:
        return one_array(table.column(name))

    where = f"source {source.name!r}"
    entity = codes_of(known, [read(f"{KEYS}{n}") for n in range(len(source.keys))])
    time, kept = times_and_flags(read(TIME))
    if ID in table.column_names:
        kept = kept & no_duplicates(read(ID), time, kept, source.id_within)
    seq = column(read(SEQ), kind_of(read(SEQ))) if source.seq is not None else None
    rows = sort_rows(entity, time, kept, known.count, seq, where)
    if not is_all:
        here = (rows.starts[1:] > rows.starts[:-1])[queries.entity]
        queries = Queries(queries.entity[here], queries.time[here], queries.at[here])
    windows = Windows(rows, queries, source.delay, answers.rows if is_all else None)

    def load(name: str, kind: Type) -> Column:
        return column(read(f"{VALUE}{source.columns.index((name, kind))}"), kind)

    for aggregate, is_edge, values, texts in aggregated(windows, load, source.aggregates, where):
        answers.put(aggregate, None if is_edge and is_all else queries.at, values, texts)
        answers.put_newest(aggregate, windows, time)
