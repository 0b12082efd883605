"""The noise of a round: as much as the budget of all rounds asks for, in the whole numbers that sites send."""

from __future__ import annotations

import math

import msgspec

from fivefold.core.errors import Invalid
from fivefold.core.federation import DP
from fivefold.federated.contribution import SCALARS, WEIGHT, Layout, Terms
from fivefold.federated.encoding.plan import Plan, Turned, make_plan
from fivefold.federated.encoding.rotation import padded
from fivefold.federated.encoding.rounding import rounded_length
from fivefold.federated.privacy.accounting import Curve, least_multiplier, skellam_curve

SCALARS_SHARE = 0.1
"""How much of the sensitivity each scalar takes: three of them cost the changes 1.5 % more noise."""
FINENESS = 20
"""Steps of the grid in a coordinate's part of the sensitivity: rounding then adds 5 % to it."""
LARGE = 10**9
"""Variance of a share up to which its table is made in half a second; above it the grid is made coarser."""


class Noise(msgspec.Struct, frozen=True):
    """The plan of each round, the curve that one release spends, and the noise in a sum of the changes.

    `deviation` is the standard deviation of the noise in each coordinate of the sum of `update`.
    """

    plan: Plan
    curve: Curve
    multiplier: float
    deviation: float


def private_plan(
    layout: Layout,
    dp: DP,
    terms: Terms,
    lr: float,
    *,
    releases: int,
    cohort: int,
    min_survivors: int,
    central: bool,
    seed: bytes,
) -> Noise:
    """The plan for `releases` rounds under a promise, of contributions made under `terms` with local steps of `lr`.

    With `unit="row"` a neighbour has one row more or less; with `unit="client"` one site's contribution is zero, its
    weight being one whatever it holds. Noise is shared so that `min_survivors` sites give enough of it; with `central`
    the server gives it. Raises Invalid where the terms bound nothing or no noise is enough.
    """
    changes = _changes(layout, dp, terms, lr)
    small = SCALARS_SHARE if len(changes) > 1 else 0.0
    rest = math.sqrt(1 - small**2 * (len(changes) - 1))
    turned = tuple(Turned(n, c / (small if n in SCALARS else rest)) for n, c in changes.items())
    size = padded(sum(max(1, math.prod(layout.shapes[layout.names.index(n)])) for n in changes))
    # the sum over a site's rows is as long as its rows are many, at most as many as all sites have
    length = float(terms.total) if dp.unit == "row" else 1.0
    grid = 1 / (FINENESS * math.sqrt(size))
    while True:
        longest = rounded_length(1 / grid, size)
        # a row moves a sum by 1/grid; rounded with the same random numbers, by less than one step a coordinate more
        change = 1 / grid + math.sqrt(size) if dp.unit == "row" else longest
        multiplier = least_multiplier(
            dp.epsilon, dp.delta, releases, lambda m, c=change: skellam_curve((m * c) ** 2, c, size)
        )
        share = math.ceil((multiplier * change) ** 2 / (1 if central else min_survivors))
        if share <= LARGE or grid * math.sqrt(size) > 1:
            break
        grid *= 2
    variance = share * (1 if central else min_survivors)
    plan = make_plan(
        layout,
        turned,
        length=length,
        bits=2,
        grid=grid,
        longest=math.inf if dp.unit == "row" else longest,
        cohort=cohort,
        min_survivors=min_survivors,
        share=share,
        central=central,
        seed=seed,
    )
    deviation = math.sqrt(variance) * grid * turned[0].unit
    return Noise(plan, skellam_curve(variance, change, size), multiplier, deviation)


def _changes(layout: Layout, dp: DP, terms: Terms, lr: float) -> dict[str, float]:
    """How much one unit changes each array of a contribution (L2)."""
    if not math.isfinite(terms.loss_cap):
        raise Invalid("a loss without a cap cannot be released privately.", hint="Give the terms a loss_cap.")
    if set(layout.names) != {"update", *SCALARS}:
        raise Invalid(f"contributions of {', '.join(layout.names)} have no differential privacy.")
    if dp.unit == "row":
        if terms.row_clip != dp.clip or terms.equal:
            raise Invalid(f"unit='row' with clip={dp.clip:g}, and the terms have row_clip={terms.row_clip}.")
        one = 1 / terms.total
        return {"update": dp.clip * lr * one, WEIGHT: one, "loss": terms.loss_cap * one, "clipped": one}
    if not terms.equal or terms.reach != dp.clip:
        raise Invalid(
            f"unit='client' needs equal weights and changes cut to clip={dp.clip:g}; the terms have "
            f"equal={terms.equal}, reach={terms.reach:g}."
        )
    return {"update": dp.clip, "loss": terms.loss_cap, "clipped": 1.0}


def terms_under(dp: DP, total: int, loss_cap: float = 4.0) -> Terms:
    """The terms that a promise asks for, with `total` rows on all sites."""
    if dp.unit == "row":
        return Terms(total=total, row_clip=dp.clip, loss_cap=loss_cap)
    return Terms(total=total, equal=True, reach=dp.clip, loss_cap=loss_cap)
