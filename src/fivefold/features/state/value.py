"""The features of one entity at a moment, from its states: those of its history and of each stream partition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import sketch
from fivefold.features.kernel.finish import EXACT_DISTINCT
from fivefold.features.kernel.plan import Aggregate
from fivefold.features.state.keep import left_edge
from fivefold.features.state.key import View
from fivefold.features.state.newest import Newest, Part, Value
from fivefold.features.state.pieces import Pieces, Read
from fivefold.features.state.tiles import Summary

__all__ = ["Read", "Value", "Values"]


def _never(raw: bytes, at: int) -> None:
    return None


class _Window(NamedTuple):
    first: Aggregate
    merged: bool
    wanted: list[int]
    features: list[tuple[int, Aggregate, list[int]]]


class Values:
    """Makes the features of a view, or the `wanted` ones by number; made once and used for all its entities.

    `expires` says of each of them whether it has a time to live.
    """

    def __init__(self, view: View, wanted: Sequence[int] | None = None, expires: Sequence[bool] = ()) -> None:
        self._view = view
        every = view.source.aggregates
        self._aggregates = every if wanted is None else [every[n] for n in wanted]
        windows: dict[tuple[Any, ...], list[tuple[int, Aggregate, list[int]]]] = {}
        for number, a in enumerate(self._aggregates):
            key = (a.over, a.hop, a.ago, a in view.keep.merged)
            windows.setdefault(key, []).append((number, a, view.algebra.places(a)))
        self._windows = [
            _Window(of[0][1], key[3], sorted({p for _, _, places in of for p in places}), of)
            for key, of in windows.items()
        ]
        newest = view.keep.only_last and len(view.keep.agos) == 1
        never = [False] * len(self._aggregates)
        self._newest = Newest(view, self._aggregates, expires or never) if newest else None
        self.quick: Callable[[bytes, int], Part | None] = self._newest.reader() if self._newest else _never
        """The features of an entity whose one state answers them quickly, and else None."""

    def of(self, states: Sequence[tuple[bytes, Read]], at: int) -> list[Value]:
        """The features at a time (µs), in their order. Each state comes with its tiles' rows."""
        if self._newest is not None:
            found = self._newest.of([raw for raw, _ in states], at)
            if found is not None:
                return found
        delay = self._view.source.delay
        edges = [(left_edge(at, w.first), at - w.first.ago - delay) for w in self._windows]
        pieces = [Pieces(self._view, raw, read, edges) for raw, read in states]
        out: list[Any] = [None] * len(self._aggregates)
        for window, (left, right) in zip(self._windows, edges, strict=True):
            summary, newest, older = self._seen(pieces, window, left, right)
            for number, aggregate, places in window.features:
                value = _FINISH[aggregate.fn](aggregate, [summary[p] for p in places], self._view)
                out[number] = Value(value, newest, older)
        return out

    def _seen(
        self, pieces: Sequence[Pieces], window: _Window, left: int, right: int
    ) -> tuple[Summary, int | None, bool]:
        """The merged states of all rows in a window, the newest time among them, and whether there are older rows."""
        algebra = self._view.algebra
        found = [each for one in pieces for each in one.within(left, right, window.merged, window.wanted)]
        if not found:
            return [None] * len(algebra.slots), None, any(one.oldest < min(left, right) for one in pieces)
        (summary, newest), *others = found
        for states, time in others:
            if summary is found[0][0]:
                summary = summary.copy()  # a tile's own are asked for again
            for p in window.wanted:
                summary[p] = algebra.merge_one(p, summary[p], states[p])
            newest = max(newest, time)
        return summary, newest, False


def _count(a: Aggregate, states: list[Any], view: View) -> int:
    return states[0] or 0


def _sum(a: Aggregate, states: list[Any], view: View) -> int | float | None:
    n, total = states
    if not n:
        return None
    if a.type is Type.FLOAT64:
        return float(total) * math.ldexp(1.0, -(a.scale or 0))
    if not -(2**63) <= total < 2**63:
        raise Invalid(f"feature {a.name!r}: a sum does not fit int64.", hint="Declare the column as float64.")
    return int(total)


def _mean(a: Aggregate, states: list[Any], view: View) -> float | None:
    n, total = states
    return float(total) / float(n) * math.ldexp(1.0, -(a.scale or 0)) if n else None


def _std(a: Aggregate, states: list[Any], view: View) -> float | None:
    n, total, squares = states
    if (n or 0) < 2:
        return None
    return math.sqrt(float(n * squares - total * total) / float(n * (n - 1))) * math.ldexp(1.0, -(a.scale or 0))


def _extreme(a: Aggregate, states: list[Any], view: View) -> Any:
    return _of_type(a, states[0])


def _edge(a: Aggregate, states: list[Any], view: View) -> Any:
    return None if states[0] is None else _of_type(a, states[0][2])


def _distinct(a: Aggregate, states: list[Any], view: View) -> int:
    (state,) = states
    if state is None:
        return 0
    if isinstance(state, set):
        return len(state)
    ranks = np.bincount(np.frombuffer(state, np.uint8), minlength=sketch.RANKS + 1)
    return max(EXACT_DISTINCT + 1, int(sketch.estimate(ranks.astype(np.int64)[:, None])[0]))


def _quantile(a: Aggregate, states: list[Any], view: View) -> float | None:
    (buckets,) = states
    if not buckets:
        return None
    n = sum(buckets.values())
    rank = math.floor((a.q or 0.0) * float(n - 1))
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank < 0:
            return float(sketch.bucket_middle(np.array([bucket]))[0])
    raise AssertionError("a rank is below the number of values")


def _top(a: Aggregate, states: list[Any], view: View) -> Any:
    (counts,) = states
    wanted = getattr(a, "k", None) or 1
    if counts is None or len(counts) < wanted:
        return None
    # most frequent first, of equally frequent ones the least value; texts are UTF-8 bytes here
    return _of_type(a, sorted(counts, key=lambda v: (-counts[v], v))[wanted - 1])


def _of_type(a: Aggregate, value: Any) -> Any:
    if value is None:
        return None
    if a.type is Type.STRING:
        return value.decode()
    return bool(value) if a.type is Type.BOOL else value


_FINISH: dict[str, Callable[[Aggregate, list[Any], View], Any]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "min": _extreme,
    "max": _extreme,
    "first": _edge,
    "last": _edge,
    "distinct": _distinct,
    "quantile": _quantile,
    "top": _top,
}
