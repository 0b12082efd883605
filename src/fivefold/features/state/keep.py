"""Which rows some query can still tell apart, when no query comes for a time before the horizon.

A query at T sees, of an aggregate, the rows in `[left(T), T - ago - delay)` (decision 0005). Both edges only move
forward with T, so what lies behind the edges of the earliest query is behind those of all.
"""

from __future__ import annotations

from math import gcd

from fivefold.features.kernel.plan import Aggregate, Source

ALWAYS = -(2**63)


class Keep:
    """The retention of one view's rows."""

    def __init__(self, source: Source) -> None:
        every = source.aggregates
        # of `last`, only the newest row before its right edge is ever seen, however long its window is
        self._bounded = [a for a in every if a.over is not None and a.fn != "last"]
        self.merged = tuple(a for a in every if a.over is None and a.fn != "last")
        """Aggregates over all history, of which rows behind every right edge are merged once and for all."""
        self.only_last = all(a.fn == "last" for a in every)
        self.agos = sorted({a.ago for a in every if a.fn == "last"})
        self._delay = source.delay
        self._longest_ago = max(a.ago for a in every)
        hops = [a.hop for a in self._bounded]
        self.cell = gcd(*[h for h in hops if h]) if hops and all(hops) else None
        """A grid (µs) on which every left edge lies, so that rows behind right edges need not be kept."""

    def windows_from(self, horizon: int) -> int:
        """No window reaches further back than this time any more; without windows, the greatest time."""
        return min((left_edge(horizon, a) for a in self._bounded), default=2**63 - 1)

    def settled_before(self, horizon: int) -> int:
        """No right edge can fall at or before this time any more, so rows before it are always seen together."""
        return horizon - self._longest_ago - self._delay

    def last_edges(self, horizon: int) -> list[int]:
        """The right edges of the earliest query: of `last`, the newest row before each of them is kept."""
        return [horizon - ago - self._delay for ago in self.agos]


def left_edge(at: int, of: Aggregate) -> int:
    """The first µs of an aggregate's window for a query at a time; without `over` the beginning of time."""
    if of.over is None:
        return ALWAYS
    left = at - of.ago - of.over
    return left if of.hop is None else left // of.hop * of.hop
