"""The values of one view's aggregates for all queries, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fivefold.core.types import Type
from fivefold.features.kernel import finish, sketch
from fivefold.features.kernel.arrays import Array, Ints, Span, Values, prefix
from fivefold.features.kernel.columns import Column, bits, text_ranks
from fivefold.features.kernel.extremes import extreme
from fivefold.features.kernel.fixed import fixed, sums, sums_of_squares
from fivefold.features.kernel.frequent import kth_most_frequent
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.kernel.rows import Rows
from fivefold.features.kernel.wavelet import count_distinct, kth_smallest
from fivefold.features.kernel.windows import Windows


def aggregated(
    windows: Windows, load: Callable[[str, Type], Column], aggregates: tuple[Aggregate, ...], where: str
) -> Iterator[tuple[Aggregate, bool, Values, pa.Array | None]]:
    """Each aggregate; whether its values are in the order of `edge_rows`; the values; the texts they are codes into."""
    of_column: dict[tuple[str, Type] | None, list[Aggregate]] = {}
    for aggregate in aggregates:
        key = None if aggregate.column is None else (aggregate.column, aggregate.type)
        of_column.setdefault(key, []).append(aggregate)
    for key, wanted in of_column.items():
        if key is None:
            yield from ((a, False, finish.count(windows[a].size), None) for a in wanted)
            continue
        column, present = load(*key), None
        for aggregate in wanted:
            texts = column.texts if aggregate.result is Type.STRING else None
            if aggregate.fn in ("first", "last"):
                yield aggregate, True, _edge(windows, column, aggregate), texts
                continue
            present = present or _present(windows.rows, column)
            named = f"{where}, column {key[0]!r}"
            span = present.within(windows[aggregate])
            yield aggregate, False, _FUNCTIONS[aggregate.fn](present.values, span, aggregate, named), texts


def _edge(windows: Windows, column: Column, of: Aggregate) -> Values:
    """The value of the last or first row of each range; a null value of that row is the answer."""
    seen, chosen = windows.edge_rows(of, column)
    if len(windows.rows.origin) == 0:
        return Values(np.zeros(len(seen), column.values.dtype), seen)
    return Values(column.values[chosen], seen if column.valid is None else seen & column.valid[chosen])


@dataclass(frozen=True)
class _Present:
    """The non-null values in row order, and how many there are before each row (None: all rows have one)."""

    values: Column
    before: Ints | None

    def within(self, span: Span) -> Span:
        return span if self.before is None else Span(self.before[span.lo], self.before[span.hi])


def _present(rows: Rows, column: Column) -> _Present:
    if column.valid is None:
        return _Present(column.take(rows.origin), None)
    valid = column.valid[rows.origin]
    kept = Column(column.type, column.values[rows.origin[valid]], None, column.texts)
    return _Present(kept, prefix(valid, np.int64))


def _count(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    return finish.count(span.size)


def _sum(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    return finish.total(span.size, sums(fixed(column, of.scale, where), span), of.scale, of.type, where)


def _mean(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    return finish.mean(span.size, sums(fixed(column, of.scale, where), span), of.scale)


def _std(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    numbers = fixed(column, of.scale, where)
    return finish.std(span.size, sums(numbers, span), sums_of_squares(numbers, span), of.scale)


def _extreme(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    pick = np.minimum if of.fn == "min" else np.maximum
    if column.texts is None:
        return finish.extreme(span.size, extreme(column.values, span, pick))
    ranks = text_ranks(column.texts)
    by_rank = np.argsort(ranks)
    best = extreme(ranks[column.values], span, pick)
    return finish.extreme(span.size, by_rank[best] if len(by_rank) else best)


def _distinct(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    exact = count_distinct(_codes(column), span)
    many = np.flatnonzero(exact > finish.EXACT_DISTINCT)
    return finish.distinct(exact, _histogram(column, Span(span.lo[many], span.hi[many])))


def _codes(column: Column) -> Array:
    """Numbers equal where the values are: positions among the distinct values."""
    return column.values if column.texts is not None else np.unique(bits(column), return_inverse=True)[1]


def _histogram(column: Column, span: Span) -> Ints:
    """How many registers of the HyperLogLog of each range hold each rank.

    A register holds at least r when some row of that register has a rank of at least r: a count of distinct registers
    among those rows, of which there are half as many for each further r.
    """
    at_least = np.zeros((sketch.RANKS + 2, len(span.lo)), np.int64)
    at_least[0] = sketch.REGISTERS
    if len(span.lo):
        register, rank = sketch.register_and_rank(sketch.hashes(column))
        for r in range(1, sketch.RANKS + 1):
            before = prefix(rank >= r, np.int64)
            if before[-1] == 0:
                break
            at_least[r] = count_distinct(register[rank >= r], Span(before[span.lo], before[span.hi]))
    return at_least[:-1] - at_least[1:]


def _quantile(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    buckets, ranks = np.unique(sketch.bucket(column.values.astype(np.float64)), return_inverse=True)
    out = np.zeros(len(span.lo), np.int64)
    asked = np.flatnonzero(span.size > 0)
    within = Span(span.lo[asked], span.hi[asked])
    out[asked] = buckets[kth_smallest(ranks, within, finish.rank(of.q or 0.0, within.size))]
    return finish.quantile(span.size, out)


def _top(column: Column, span: Span, of: Aggregate, where: str) -> Values:
    if column.texts is None:
        in_order, ranks = np.unique(column.values, return_inverse=True)
    else:
        rank_of = text_ranks(column.texts)
        in_order, ranks = np.argsort(rank_of), rank_of[column.values]
    k = of.k or 1
    different, found = kth_most_frequent(ranks, span, k)
    values = in_order[found] if len(in_order) else np.zeros(len(found), in_order.dtype)
    return finish.kth_most_frequent(different, values, k)


_FUNCTIONS: dict[str, Callable[[Column, Span, Aggregate, str], Values]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "min": _extreme,
    "max": _extreme,
    "distinct": _distinct,
    "quantile": _quantile,
    "top": _top,
}
