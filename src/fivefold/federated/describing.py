"""What all sites' columns are like, by two sums: of powers of two, then of values and squares, noisy if promised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.federation import DP
from fivefold.federated.adding import ModularSum, modular_sum
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.encoding.whole import bits_for, decode_whole, encode_whole
from fivefold.federated.privacy import skellam
from fivefold.federated.privacy.accounting import Curve, least_multiplier, skellam_curve
from fivefold.models.formats.linear import Columns
from fivefold.models.statistics import GRAINS, POWERS, columns_from, exponents, moments, units

RELEASES = 2
FINE = 2**12
"""With noise, counts, values and squares are told in so many parts of the most that a row can give."""
COVERED = 0.98
"""With noise, a column's unit is above this share of its values, and those beyond it are cut: no row alone decides."""
MOST_ROWS = 2**24

Paying = Callable[[str, str, Curve], object]
"""Called with a key, what is released and its curve before that happens; raises when it may not."""


class Described(msgspec.Struct, frozen=True):
    """How columns enter a model, and how many rows all sites have (about, with noise)."""

    columns: Columns
    total: int


class _Noise(msgspec.Struct, frozen=True):
    share: int
    curve: Curve


def describe_together(
    sites: Sequence[np.ndarray],
    levels: tuple[int, ...],
    *,
    modular: ModularSum = modular_sum,
    dp: DP | None = None,
    releases: int = RELEASES,
    min_survivors: int = 1,
    pay: Paying | None = None,
    random: RandomBytes,
) -> Described:
    """The description of all rows, each site holding `(n, features)` with NaN for null, from sums of whole numbers.

    Without `dp` it is to the last bit that of all rows in one place. With it every row's presence is hidden, as one of
    `releases` in all; `unit="client"` is refused, since a site's rows have no bound. `pay` is called before each sum is
    taken. Raises Invalid for no rows.
    """
    width = len(levels)
    if dp is None:
        bits = bits_for(MOST_ROWS * GRAINS**2)
        told = _summed([exponents(x).ravel() for x in sites], bits, modular)
        unit = units(told.reshape(width, POWERS))
        sums = _summed([moments(x, unit).ravel() for x in sites], bits, modular).reshape(width, 4)
        if not sums[0, 0]:
            raise Invalid("no site has a row.")
        return Described(columns_from(sums, unit, levels), int(sums[0, 0]))
    if dp.unit != "row":
        raise Invalid("statistics of columns have no bound for a whole site.", hint="Standardise by public numbers.")
    first = _noise(dp, math.sqrt(width), width * POWERS, releases, min_survivors)
    _pay(pay, "statistics/powers", "counts of powers of two of the columns", first)
    counts = _noisy([exponents(x).ravel() for x in sites], first, modular, random, 1).reshape(width, POWERS)
    unit = np.array([_covering(row, 4 * math.sqrt(first.share * len(sites))) for row in counts])
    second = _noise(dp, FINE * math.sqrt(3 * width), 3 * width, releases, min_survivors)
    _pay(pay, "statistics/moments", "counts, sums and squares of the columns", second)
    noisy = _noisy([_bounded(x, unit).ravel() for x in sites], second, modular, random, FINE).reshape(3, width) / FINE
    total = max(1, round(float(noisy[0].max())))
    return Described(_columns(noisy, unit, levels), total)


def _summed(answers: Sequence[np.ndarray], bits: int, modular: ModularSum) -> np.ndarray:
    return decode_whole(modular([encode_whole(a, bits) for a in answers], bits), bits)


def _noisy(
    answers: Sequence[np.ndarray], noise: _Noise, modular: ModularSum, random: RandomBytes, most: int
) -> np.ndarray:
    bits = bits_for(MOST_ROWS * most + len(answers) * skellam.reach(noise.share))
    return _summed([a + skellam.skellam(noise.share, len(a), random) for a in answers], bits, modular)


def _noise(dp: DP, change: float, size: int, releases: int, min_survivors: int) -> _Noise:
    multiplier = least_multiplier(
        dp.epsilon, dp.delta, releases, lambda m: skellam_curve((m * change) ** 2, change, size)
    )
    # a little more than is needed: curves of different releases are not quite of one shape
    share = math.ceil((1.01 * multiplier * change) ** 2 / min_survivors)
    return _Noise(share, skellam_curve(share * min_survivors, change, size))


def _pay(pay: Paying | None, key: str, what: str, noise: _Noise) -> None:
    if pay is not None:
        pay(key, what, noise.curve)


def _covering(counts: np.ndarray, noise: float) -> float:
    """The power of two above the share `COVERED` of a column's values, by counts above what is only noise."""
    held = np.cumsum(np.where(counts > noise, counts, 0))
    place = int(np.searchsorted(held, COVERED * held[-1])) if held[-1] else 0
    return float(units(np.eye(1, POWERS, place, dtype=np.int64))[0])


def _bounded(x: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Counts, sums and sums of squares `(3, features)` int64 of values cut to their unit; a row gives at most FINE."""
    there = ~np.isnan(x)
    cut = np.where(there, (np.nan_to_num(x) / unit).clip(-1, 1), 0.0)
    told = (there * FINE, np.rint(cut * FINE), np.rint(cut * cut * FINE))
    return np.stack([part.sum(axis=0) for part in told]).astype(np.int64)


def _columns(noisy: np.ndarray, unit: np.ndarray, levels: tuple[int, ...]) -> Columns:
    count = np.maximum(noisy[0], 1.0)
    mean = (noisy[1] / count).clip(-1, 1)
    deviation = np.sqrt(np.maximum(noisy[2] / count - mean**2, 1 / FINE))
    category = np.array(levels) >= 0
    means = np.where(category, 0.0, mean * unit)
    scales = np.where(category, 1.0, deviation * unit)
    # whether a column has nulls at all would tell of a single row: every number has a flag
    return Columns(tuple(means.tolist()), tuple(scales.tolist()), tuple((~category).tolist()), levels)
