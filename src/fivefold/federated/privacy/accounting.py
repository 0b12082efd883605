"""How much privacy a release spends: curves of Rényi divergence, which add up, turned into epsilon by dp-accounting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from fivefold.core.errors import Invalid, missing_extra

ORDERS = (*range(2, 65), *range(72, 257, 8), 320, 384, 512, 768, 1024)
"""Rényi orders of every curve: whole numbers, for which the bound of the Skellam mechanism is proven."""

Curve = tuple[float, ...]
"""Rényi divergence at each of `ORDERS`. Curves of releases about the same rows add up."""


def gaussian(multiplier: float) -> Curve:
    """The curve of Gaussian noise of `multiplier` times the sensitivity (Mironov 2017)."""
    _require_positive("multiplier", multiplier)
    return tuple(order / (2 * multiplier**2) for order in ORDERS)


def skellam_curve(variance: float, change: float, size: int) -> Curve:
    """The curve of Skellam noise of a variance in each of `size` whole coordinates, of which one unit's presence moves
    a vector by at most `change` (L2), hence by at most min(root(size) change, change²) (L1).

    Agarwal, Kairouz and Liu 2021, "The Skellam Mechanism for Differentially Private Federated Learning", theorem 3.5.
    """
    _require_positive("variance", variance)
    _require_positive("change", change)
    first = min(math.sqrt(size) * change, change**2)
    curve = []
    for order in ORDERS:
        extra = min(((2 * order - 1) * change**2 + 6 * first) / (4 * variance**2), 3 * first / (2 * variance))
        curve.append(order * change**2 / (2 * variance) + extra)
    return tuple(curve)


def add(curves: Sequence[Curve]) -> Curve:
    """The curve of several releases together; nothing spends nothing."""
    return tuple(sum(values) for values in zip((0.0,) * len(ORDERS), *curves, strict=True))


def epsilon(curve: Curve, delta: float) -> float:
    """The epsilon of a curve for a delta. Raises Unsupported with the install command without dp-accounting."""
    if not any(curve):
        return 0.0
    return float(_accounting().compute_epsilon(ORDERS, curve, delta)[0])


def least_multiplier(budget: float, delta: float, releases: int, curve_of: Any = gaussian) -> float:
    """The least noise, as a multiple of the sensitivity and to 0.1 %, with which so many releases stay within a budget.

    `curve_of(multiplier)` is the curve of one release. Raises Invalid where no noise is enough.
    """

    def within(multiplier: float) -> bool:
        return epsilon(tuple(releases * v for v in curve_of(multiplier)), delta) <= budget

    high = 1.0
    while not within(high):
        high *= 2
        if high > 1e9:
            raise Invalid(
                f"no noise is enough for epsilon={budget:g} at delta={delta:g} over {releases} releases.",
                hint="Allow a larger epsilon or fewer rounds.",
            )
    low = high / 2
    while low > 1e-3 and within(low):
        high, low = low, low / 2
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return high


@cache
def _accounting() -> Any:
    try:
        from dp_accounting import rdp
    except ImportError:
        raise missing_extra("dp-accounting", "federated", "accounting of privacy") from None
    return rdp


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise Invalid(f"{name}={value!r} (accepted: a number above 0).")
