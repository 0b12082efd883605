"""Which rows a query sees: `lo <= t < A` and `t + delay < A`, where A is the query's time less `ago`."""

from __future__ import annotations

import numpy as np

from fivefold.features.kernel.arrays import Ints, Span
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.kernel.rows import Queries, Rows


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
    """The ranges of one view's queries, each edge searched once however many aggregates use it."""

    def __init__(self, rows: Rows, queries: Queries, delay: int) -> None:
        self.rows = rows
        self._queries = queries
        self._delay = delay
        self._upper: dict[int, Ints] = {}
        self._span: dict[tuple[int | None, int | None, int], Span] = {}

    def __getitem__(self, aggregate: Aggregate) -> Span:
        key = (aggregate.over, aggregate.hop, aggregate.ago)
        if key not in self._span:
            if aggregate.ago not in self._upper:
                self._upper[aggregate.ago] = upper(self.rows, self._queries, aggregate.ago, self._delay)
            hi = self._upper[aggregate.ago]
            lo = lower(self.rows, self._queries, *key)
            self._span[key] = Span(np.minimum(lo, hi), hi)
        return self._span[key]
