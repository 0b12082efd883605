"""Fixed-point scales: sums are of integers rint(x * 2**scale), so their order never matters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from fivefold.core.features import FeatureView
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type

LIMIT_BITS = 40
"""|rint(x * 2**scale)| stays below 2**LIMIT_BITS, so that eight million rows sum within int64."""

HEADROOM = 1000.0
"""How many times the largest value seen must still fit."""


def summed_columns(views: Iterable[FeatureView], schemas: Mapping[str, Schema]) -> dict[str, dict[str, Type]]:
    """By source name, the numeric columns whose sums some feature needs, with their types."""
    found: dict[str, dict[str, Type]] = {}
    for view in views:
        source = rows_of(view.source).name
        for item in view.features:
            if item.fn in ("sum", "mean", "std") and item.column:
                kind = schemas.get(source, {}).get(item.column)
                if kind in (Type.INT64, Type.FLOAT64):
                    found.setdefault(source, {})[item.column] = kind
    return found


def choose_scale(magnitude: float) -> int:
    """The largest scale at which a thousand times `magnitude` still fits; -1022 <= scale <= 60.

    >>> choose_scale(2000.0)
    19
    """
    if magnitude == 0 or not math.isfinite(magnitude):
        return 20
    return max(-1022, min(60, LIMIT_BITS - math.ceil(math.log2(magnitude * HEADROOM))))


def fits(scale: int) -> float:
    """Values of at least this magnitude do not fit a scale."""
    return math.ldexp(1.0, LIMIT_BITS - scale)
