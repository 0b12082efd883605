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

POWERS_TOLD = "statistics/powers", "counts of powers of two of the columns"
MOMENTS_TOLD = "statistics/moments", "counts, sums and squares of the columns"
"""Keys in the ledger, and what is released."""

Paying = Callable[[str, str, Curve], object]
"""Called with a key, what is released and its curve before that happens; raises when it may not."""


class Described(msgspec.Struct, frozen=True):
    """How columns enter a model, and how many rows all sites have (about, with noise)."""

    columns: Columns
    total: int


class Counting(msgspec.Struct, frozen=True):
    """How whole numbers `(length,)` are told: modulo 2**`bits`, each site adding noise of the variance `share`.

    `most` is what they are told in parts of, `curve` what their sum spends of the privacy that is promised, if any.
    """

    length: int
    bits: int
    share: int = 0
    most: int = 1
    curve: Curve | None = None

    def hide(self, answer: np.ndarray, random: RandomBytes) -> np.ndarray:
        """A site's answer `(length,)` int64 as it is sent, uint64."""
        noisy = answer + skellam.skellam(self.share, len(answer), random) if self.share else answer
        return encode_whole(noisy, self.bits)

    def found(self, total: np.ndarray) -> np.ndarray:
        """The sum `(length,)` int64 from the sum modulo 2**`bits`."""
        return decode_whole(total, self.bits)

    def noise(self, sites: int) -> float:
        """The standard deviation of the noise in the sum of so many sites."""
        return math.sqrt(self.share * sites)


def counting(
    length: int, dp: DP | None, *, change: float, most: int, releases: int, min_survivors: int, sites: int
) -> Counting:
    """How a sum over rows is asked of at most `sites` sites, when a row changes it by at most `change` (L2), and each
    number by at most `most`. Under a promise it is one of `releases` in all. Raises Invalid for `unit="client"`."""
    if dp is None:
        return Counting(length, bits_for(MOST_ROWS * most), most=most)
    if dp.unit != "row":
        raise Invalid("sums over rows have no bound for a whole site.", hint="Standardise by public numbers.")
    multiplier = least_multiplier(
        dp.epsilon, dp.delta, releases, lambda m: skellam_curve((m * change) ** 2, change, length)
    )
    # a little more than is needed: curves of different releases are not quite of one shape
    share = math.ceil((1.01 * multiplier * change) ** 2 / min_survivors)
    bits = bits_for(MOST_ROWS * most + sites * skellam.reach(share))
    return Counting(length, bits, share, most, skellam_curve(share * min_survivors, change, length))


def counting_powers(width: int, dp: DP | None, releases: int, min_survivors: int, sites: int) -> Counting:
    """The first sum: how many values of each of `width` columns have which power of two."""
    most = 1 if dp else GRAINS**2
    return counting(width * POWERS, dp, change=math.sqrt(width), most=most, releases=releases,
                    min_survivors=min_survivors, sites=sites)  # fmt: skip


def counting_moments(width: int, dp: DP | None, releases: int, min_survivors: int, sites: int) -> Counting:
    """The second one: counts, sums and squares of the columns in their units."""
    length, change, most = (3 * width, FINE * math.sqrt(3 * width), FINE) if dp else (4 * width, 1.0, GRAINS**2)
    return counting(length, dp, change=change, most=most, releases=releases, min_survivors=min_survivors, sites=sites)


def tell_powers(x: np.ndarray) -> np.ndarray:
    """A site's part of the first sum, int64."""
    return exponents(x).ravel()


def tell_moments(x: np.ndarray, unit: np.ndarray, private: bool) -> np.ndarray:
    """A site's part of the second sum, int64, for columns in these units."""
    return (_bounded(x, unit) if private else moments(x, unit)).ravel()


def units_of(total: np.ndarray, how: Counting, sites: int) -> np.ndarray:
    """The unit of each column from the first sum, of so many sites."""
    counts = total.reshape(-1, POWERS)
    if not how.share:
        return units(counts)
    return np.array([_covering(row, 4 * how.noise(sites)) for row in counts])


def described(total: np.ndarray, how: Counting, unit: np.ndarray, levels: tuple[int, ...]) -> Described:
    """The description from the second sum. Raises Invalid for no rows."""
    width = len(levels)
    if how.share:
        noisy = total.reshape(3, width) / FINE
        return Described(_columns(noisy, unit, levels), max(1, round(float(noisy[0].max()))))
    sums = total.reshape(width, 4)
    if not sums[0, 0]:
        raise Invalid("no site has a row.")
    return Described(columns_from(sums, unit, levels), int(sums[0, 0]))


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

    def summed(how: Counting, key: str, what: str, answers: Sequence[np.ndarray]) -> np.ndarray:
        if pay is not None and how.curve is not None:
            pay(key, what, how.curve)
        return how.found(modular([how.hide(answer, random) for answer in answers], how.bits))

    first = counting_powers(width, dp, releases, min_survivors, len(sites))
    unit = units_of(summed(first, *POWERS_TOLD, [tell_powers(x) for x in sites]), first, len(sites))
    second = counting_moments(width, dp, releases, min_survivors, len(sites))
    answers = [tell_moments(x, unit, dp is not None) for x in sites]
    return described(summed(second, *MOMENTS_TOLD, answers), second, unit, levels)


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
