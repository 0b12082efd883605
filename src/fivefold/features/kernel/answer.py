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
from fivefold.features.kernel.columns import Column, column, kind_of, times_and_flags
from fivefold.features.kernel.keys import Entities, codes_of
from fivefold.features.kernel.plan import Aggregate, Source
from fivefold.features.kernel.relation import one_array
from fivefold.features.kernel.rows import Queries, first_of_each, sort_rows
from fivefold.features.kernel.sources import ID, KEYS, SEQ, TIME, VALUE
from fivefold.features.kernel.windows import Windows

_MOMENT = pa.timestamp("us", "UTC")
_ARRAYS = {Type.INT64: np.int64, Type.FLOAT64: np.float64, Type.BOOL: np.bool_, Type.STRING: np.int64,
           Type.TIMESTAMP: np.int64}


@dataclass
class _Filled:
    """One output column: values with nulls apart; of texts, positions among all texts seen so far."""

    type: Type
    values: Array
    valid: Flags
    texts: list[pa.Array] = field(default_factory=list)

    def put(self, at: Ints, given: Values, texts: pa.Array | None) -> None:
        base = sum(map(len, self.texts))
        self.values[at] = given.values if texts is None else given.values + base
        self.valid[at] = given.valid
        if texts is not None:
            self.texts.append(texts)

    def array(self) -> pa.Array:
        mask = None if self.valid.all() else ~self.valid
        if self.type is Type.STRING:
            if not self.texts:
                return pa.nulls(len(self.values), pa.string())
            texts = self.texts[0] if len(self.texts) == 1 else pa.concat_arrays(self.texts)
            return texts.take(pa.array(self.values, mask=mask)).cast(pa.string())
        made = pa.array(self.values, mask=mask)
        return made.cast(_MOMENT) if self.type is Type.TIMESTAMP else made


class Answers:
    """The output columns of one source for `rows` spine rows: at first what a window without rows gives."""

    def __init__(self, aggregates: tuple[Aggregate, ...], rows: int, event_times: bool) -> None:
        self._columns = {a.name: _nothing(a.result, rows, *finish.empty(a.fn)) for a in aggregates}
        self._times = {a.name: _nothing(Type.TIMESTAMP, rows, 0, False) for a in aggregates} if event_times else {}

    def put(self, aggregate: Aggregate, at: Ints, given: Values, texts: pa.Array | None) -> None:
        """Set the values of spine rows `at`; texts are codes into `texts`."""
        self._columns[aggregate.name].put(at, given, texts)

    def put_newest(self, aggregate: Aggregate, at: Ints, windows: Windows) -> None:
        """Set the event time of the newest row each window saw, where times are wanted."""
        if self._times:
            time, span = windows.rows.time, windows[aggregate]
            newest = time[np.maximum(span.hi - 1, 0)] if len(time) else np.zeros(len(at), np.int64)
            self._times[aggregate.name].put(at, Values(newest, span.size > 0), None)

    def arrays(self) -> Iterator[tuple[str, pa.Array]]:
        """The finished columns by name, each followed by its times."""
        for name, filled in self._columns.items():
            yield name, filled.array()
            if name in self._times:
                yield f"{name}__time", self._times[name].array()


def answer(answers: Answers, source: Source, table: pa.Table, known: Entities, queries: Queries, is_all: bool) -> None:
    """Fill in what the rows of one part say; unless it `is_all`, only for the entities that are in it."""
    def read(name: str) -> pa.Array:
        return one_array(table.column(name))

    where = f"source {source.name!r}"
    entity = codes_of(known, [read(f"{KEYS}{n}") for n in range(len(source.keys))])
    time, kept = times_and_flags(read(TIME))
    if ID in table.column_names:
        kept &= first_of_each(read(ID))
    seq = column(read(SEQ), kind_of(read(SEQ))) if source.seq is not None else None
    rows = sort_rows(entity, time, kept, known.count, seq, where)
    if not is_all:
        here = (rows.starts[1:] > rows.starts[:-1])[queries.entity]
        queries = Queries(queries.entity[here], queries.time[here], queries.at[here])
    windows = Windows(rows, queries, source.delay)
    wanted = list(dict.fromkeys((a.column, a.type) for a in source.aggregates if a.column is not None))

    def load(name: str, kind: Type) -> Column:
        return column(read(f"{VALUE}{wanted.index((name, kind))}"), kind)

    for aggregate, values, texts in aggregated(windows, load, source.aggregates, where):
        answers.put(aggregate, queries.at, values, texts)
        answers.put_newest(aggregate, queries.at, windows)


def _nothing(kind: Type, rows: int, value: int, valid: bool) -> _Filled:
    return _Filled(kind, np.full(rows, value, _ARRAYS[kind]), np.full(rows, valid, np.bool_))
