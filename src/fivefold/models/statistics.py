"""What columns are like, from whole-number sums over rows: the same to the last bit however the rows are divided.

Two sums tell it: how many values have which power of two, then counts, sums and sums of squares in a unit above all.
"""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.models.formats.linear import Columns

LOWEST, HIGHEST = -32, 63
"""Powers of two that are told apart; larger values are refused, smaller ones count as the lowest."""
POWERS = HIGHEST - LOWEST + 1
GRAINS = 2**18
"""A value is told in so many parts of its column's unit; sums of squares of 2**26 rows stay below 2**62."""


def exponents(x: np.ndarray) -> np.ndarray:
    """For each column of `(n, features)`, how many values lie below each power of two: `(features, 96)` int64.

    Null counts nowhere. Raises Invalid for a value beyond 2**63.
    """
    out = np.zeros((x.shape[1], POWERS), dtype=np.int64)
    for i in range(x.shape[1]):
        there = x[~np.isnan(x[:, i]), i]
        if len(there) and not np.abs(there).max() < 2.0**HIGHEST:
            raise Invalid(
                f"a value of column {i} is {np.abs(there).max():g} (accepted: below 2**{HIGHEST}).",
                hint="Derive a logarithm or a bound from it.",
            )
        power = np.frexp(there)[1].clip(LOWEST, HIGHEST) - LOWEST
        out[i] = np.bincount(power, minlength=POWERS)
    return out


def units(counts: np.ndarray) -> np.ndarray:
    """For each column the power of two above every value of it: `(features,)`."""
    highest = np.array([row.nonzero()[0].max(initial=0) for row in counts])
    return np.asarray(np.ldexp(1.0, highest + LOWEST))


def moments(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """For each column how many rows and values, and the sums of values and squares in its unit: `(features, 4)`."""
    whole = np.rint(np.nan_to_num(x) / unit * GRAINS).astype(np.int64)
    there = ~np.isnan(x)
    whole[~there] = 0
    return np.stack(
        [np.full(x.shape[1], len(x)), there.sum(axis=0), whole.sum(axis=0), (whole * whole).sum(axis=0)], axis=1
    )


def spread(told: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column `(features,)`; 0 and 1 where there is no value, 1 where all agree."""
    mean, deviation = np.zeros(len(unit)), np.ones(len(unit))
    for i, (_, count, total, squares) in enumerate(told.tolist()):
        if count:
            mean[i] = total / count / GRAINS * unit[i]
            # in Python's whole numbers, so that nothing cancels out
            deviation[i] = max(count * squares - total * total, 0) ** 0.5 / count / GRAINS * unit[i] or 1.0
    return mean, deviation


def columns_from(told: np.ndarray, unit: np.ndarray, levels: tuple[int, ...]) -> Columns:
    """How columns enter a linear model or a module: `levels` is the number of categories, -1 for a number."""
    mean, deviation = spread(told, unit)
    categories = np.array(levels) >= 0
    mean, deviation = np.where(categories, 0.0, mean), np.where(categories, 1.0, deviation)
    flagged = (told[:, 1] < told[:, 0]) & ~categories
    return Columns(tuple(mean.tolist()), tuple(deviation.tolist()), tuple(flagged.tolist()), levels)
