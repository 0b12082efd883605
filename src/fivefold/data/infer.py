"""Checks are proposed from what the data shows."""

from __future__ import annotations

import math

from fivefold.core.types import Type
from fivefold.data.snapshots import Snapshot, combine

FEW = 12
"""A text column with at most this many different values is proposed as a set."""


def propose(snapshot: Snapshot, values: dict[str, list[str]]) -> list[str]:
    """Lines of Python, one check each, that the snapshot satisfies with room to spare.

    `values` holds the different values of text columns that have at most `FEW`.
    """
    lines = [f"ff.row_count(at_least={max(1, min(p.rows for p in snapshot.parts) // 2)}),"] if snapshot.parts else []
    rows = snapshot.rows
    for column, seen in combine((p.profile for p in snapshot.parts), snapshot.schema).items():
        share = seen.nulls / rows if rows else 0.0
        if share == 0:
            lines.append(f"ff.not_null({column!r}),")
        elif share < 0.5:
            lines.append(f'ff.not_null({column!r}, at_most={min(1.0, round(share * 1.5 + 0.01, 3))}, on_fail="warn"),')
        kind = snapshot.schema[column]
        if kind in (Type.INT64, Type.FLOAT64) and seen.least is not None and seen.greatest is not None:
            low, high = _room(float(seen.least), float(seen.greatest), whole=kind is Type.INT64)
            lines.append(f'ff.between({column!r}, {low:g}, {high:g}, on_fail="quarantine"),')
        if column in values:
            lines.append(f'ff.one_of({column!r}, {values[column]!r}, on_fail="warn"),')
    return lines


def _room(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """A range wider by a tenth on both sides; one that is never negative stays so, and whole numbers stay whole."""
    margin = (high - low) / 10 or abs(high) / 10 or 1.0
    below, above = low - margin, high + margin
    if low >= 0 and below < 0:
        below = 0.0
    return (float(math.floor(below)), float(math.ceil(above))) if whole else (below, above)
