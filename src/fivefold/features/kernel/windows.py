"""Which rows a query sees: `lo <= t < A` and `t + delay < A`, where A is the query's time less `ago`."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from fivefold.features.kernel.arrays import Flags, Ints, Span
from fivefold.features.kernel.columns import Column
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.kernel.rows import Queries, Rows, resolved

ArrayOf = TypeVar("ArrayOf", Ints, Flags)


def upper(rows: Rows, queries: Queries, ago: int, delay: int) -> Ints:
    """Positions after the newest row seen: the two conditions on the right edge are one, `t < A - delay`."""
    return np.searchsorted(rows.line, rows.ruler.at(queries.entity, queries.time - (ago + delay)))


def lower(rows: Rows, queries: Queries, over: int | None, hop: int | None, ago: int) -> Ints:
    """Positions of the oldest row within the window; the delay never moves them."""
    if over is None:
        return rows.starts[queries.entity]
    left = left_edge(queries.time - ago, over, hop)
    return np.searchsorted(rows.line, rows.ruler.at(queries.entity, left))


def left_edge(at: Ints, over: int, hop: int | None) -> Ints:
    """The first µs of a window that ends at `at`: cut exactly, or rounded down to a multiple of `hop`."""
    left = at - over
    return left if hop is None else left // hop * hop


class Windows:
    """The ranges of one view's queries, each edge searched once however many aggregates use it.

    Ranges come in the order of the queries. `edge_rows` come in the order of the spine when `spine_rows`, its length,
    is given: then each column is one gather, and need not be moved to its place.
    """

    def __init__(self, rows: Rows, queries: Queries, delay: int, spine_rows: int | None = None) -> None:
        self.rows = rows
        self.queries = queries
        self.spine_rows = spine_rows
        self._delay = delay
        self._upper: dict[int, Ints] = {}
        self._span: dict[tuple[int | None, int | None, int], Span] = {}
        self._edges: dict[tuple[int | None, int | None, int, str], tuple[Flags, Ints]] = {}

    def __getitem__(self, aggregate: Aggregate) -> Span:
        key = (aggregate.over, aggregate.hop, aggregate.ago)
        if key not in self._span:
            hi = self._hi(aggregate.ago)
            self._span[key] = Span(np.minimum(lower(self.rows, self.queries, *key), hi), hi)
        return self._span[key]

    def _hi(self, ago: int) -> Ints:
        if ago not in self._upper:
            self._upper[ago] = upper(self.rows, self.queries, ago, self._delay)
        return self._upper[ago]

    def newest(self, aggregate: Aggregate) -> tuple[Flags, Ints]:
        """Which windows hold a row, and the position of the newest (0 where there is none)."""
        hi = self._hi(aggregate.ago)
        position = np.maximum(hi - 1, 0)
        if aggregate.over is None or len(self.rows.line) == 0:
            return hi > self.rows.starts[self.queries.entity], position
        # the newest row before the right edge is in the window, or none is: no need to search for the left edge
        left = left_edge(self.queries.time - aggregate.ago, aggregate.over, aggregate.hop)
        seen = self.rows.line[position] >= self.rows.ruler.at(self.queries.entity, left)
        return seen & (hi > 0), position

    def edge_rows(self, aggregate: Aggregate, column: Column) -> tuple[Flags, Ints]:
        """Which windows hold a row, and the source row that is `first` or `last` in each (any row where there is none).

        Where no rows are equal in time and seq the choice does not depend on the column.
        """
        key = (aggregate.over, aggregate.hop, aggregate.ago, aggregate.fn)
        if key in self._edges:
            return self._edges[key]
        if aggregate.fn == "last":
            seen, position = self.newest(aggregate)
        else:
            lo, hi = self[aggregate]
            seen, position = hi > lo, np.minimum(lo, max(len(self.rows.line) - 1, 0))
        order = resolved(self.rows, column, aggregate.fn == "last")
        found = self._placed(seen), self._placed(order[position] if len(order) else position)
        if self.rows.ties is None:
            self._edges[key] = found
        return found

    def _placed(self, each: ArrayOf) -> ArrayOf:
        if self.spine_rows is None:
            return each
        out = np.zeros(self.spine_rows, each.dtype)
        out[self.queries.at] = each
        return out
