"""The rows of a view in the one order everything is defined by: entity, time, seq; equal ones resolved by value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid, Unsupported
from fivefold.features.kernel.arrays import Codes, Flags, Ints
from fivefold.features.kernel.columns import Column, sortable

TIME_LIMIT = 2**62  # µs; with durations below 2**60 no difference of times leaves int64
MOST_ROWS = 2**31


@dataclass(frozen=True)
class Ruler:
    """Puts (entity, time) on one int64 line that sorts by entity, then time.

    `times` are the sorted distinct times when times themselves would not fit beside the entity, else None.
    """

    low: int
    span: int
    times: Ints | None

    def at(self, entity: Codes, time: Ints) -> Ints:
        """The place of each (entity, time); times beyond the rows' own are moved to just outside of them."""
        strip = np.multiply(entity, self.span, dtype=np.int64)
        if self.times is not None:
            strip += np.searchsorted(self.times, time)
            return strip
        within = np.clip(time, self.low, self.low + self.span - 1)
        within -= self.low
        within += strip
        return within


def ruler(time: Ints, entities: int) -> Ruler:
    """The ruler for rows of these times."""
    if len(time) == 0:
        return Ruler(0, 1, None)
    low, span = int(time.min()), int(time.max()) - int(time.min()) + 2
    if entities * span < 2**63:
        return Ruler(low, span, None)
    times = np.unique(time)
    return Ruler(0, len(times) + 1, times)


@dataclass(frozen=True)
class Ties:
    """Rows equal in entity, time and seq: their positions in the order, and the number of their group."""

    positions: Ints
    group: Ints


@dataclass(frozen=True)
class Rows:
    """`origin[i]` is the source row at position i, `line[i]` its place on the ruler; entity e begins at `starts[e]`."""

    origin: Ints
    line: Ints
    starts: Ints
    ruler: Ruler
    ties: Ties | None


@dataclass(frozen=True)
class Queries:
    """What is asked, sorted by (entity, time): row `at[i]` of the spine asks for `entity[i]` as of `time[i]`."""

    entity: Codes
    time: Ints
    at: Ints


def sort_queries(entity: Codes, time: Ints, asked: Flags, entities: int) -> Queries:
    """The queries of the spine rows that are `asked` and whose entity is not -1. Time is µs."""
    entity, time, at = _chosen(entity, time, asked)
    check_times(time, "the spine")
    order = np.argsort(ruler(time, entities).at(entity, time))
    return Queries(entity[order], time[order], order if at is None else at[order])


def _chosen(entity: Codes, time: Ints, kept: Flags) -> tuple[Codes, Ints, Ints | None]:
    """The kept rows that have an entity, and which they are; None when they are all, as they mostly are."""
    kept = kept & (entity >= 0)
    if kept.all():
        return entity, time, None
    at = np.flatnonzero(kept)
    return entity[at], time[at], at


def check_times(time: Ints, where: str) -> None:
    """Raises Invalid for a time too far away to subtract durations from."""
    if len(time) and not -TIME_LIMIT < int(time.min()) <= int(time.max()) < TIME_LIMIT:
        worst = max(int(time.min()), int(time.max()), key=abs)
        raise Invalid(
            f"{where}: time {worst} µs is out of range (accepted: within ±2^62 µs).",
            hint="Infinite timestamps are not times: make them null.",
        )


def sort_rows(entity: Codes, time: Ints, kept: Flags, entities: int, seq: Column | None, where: str) -> Rows:
    """Order the source rows that are `kept` and whose entity is not -1. Time is µs.

    Raises Invalid for a time out of range and Unsupported for 2**31 rows or more.
    """
    entity, time, origin = _chosen(entity, time, kept)
    check_times(time, where)
    if len(time) >= MOST_ROWS:
        raise Unsupported(
            f"{where}: {len(time)} rows at once (accepted: fewer than 2^31).", hint="Give it less memory."
        )
    measure = ruler(time, entities)
    line = measure.at(entity, time)
    if not np.all(line[1:] >= line[:-1]):
        order = np.argsort(line)  # need not be stable: equal rows are resolved by value
        line, origin = line[order], order if origin is None else origin[order]
    elif origin is None:
        origin = np.arange(len(line))
    starts = np.searchsorted(line, np.arange(entities + 1) * measure.span)
    origin, ties = _find_ties(line, origin, seq)
    return Rows(origin, line, starts, measure, ties)


def _find_ties(line: Ints, origin: Ints, seq: Column | None) -> tuple[Ints, Ties | None]:
    """The order with equal places sorted by seq (null lowest), and what is still equal after that."""
    same = line[1:] == line[:-1]
    if not same.any():
        return origin, None
    tied = np.append(same, False) | np.insert(same, 0, False)
    positions = np.flatnonzero(tied)
    place = line[positions]
    differs = place[1:] != place[:-1]
    if seq is not None:
        of = seq.take(origin[positions])
        number, valid = sortable(of), of.flags()
        order = np.lexsort((number, valid, place))
        origin = origin.copy()
        origin[positions] = origin[positions][order]
        number, valid = number[order], valid[order]
        differs = differs | (valid[1:] != valid[:-1]) | (valid[1:] & (number[1:] != number[:-1]))
    return origin, Ties(positions, np.insert(np.cumsum(differs), 0, 0))


def resolved(rows: Rows, column: Column, newest: bool) -> Ints:
    """`rows.origin` with the last (first) place among equal rows given to the greatest (least) value; null is least."""
    if rows.ties is None:
        return rows.origin
    positions, group = rows.ties.positions, rows.ties.group
    source = rows.origin[positions]
    of = column.take(source)
    order = np.lexsort((sortable(of), of.flags(), group))
    border = group[1:] != group[:-1]
    edge = np.append(border, True) if newest else np.insert(border, 0, True)
    out = rows.origin.copy()
    out[positions[edge]] = source[order][edge]
    return out


def first_of_each(ids: pa.Array) -> Flags:
    """Which rows are not duplicates: the first of each id, and every row whose id is null."""
    encoded = ids.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    # Arrow numbers distinct values as they appear, so a first appearance exceeds all numbers before it
    before = np.maximum.accumulate(np.insert(codes, 0, -1))[:-1]
    first: Flags = (codes > before) | (codes < 0)
    return first
