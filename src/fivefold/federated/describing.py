"""What all sites' columns are like, by two sums: of powers of two, then of values and squares, noisy if promised."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.federation import DP
from fivefold.federated.adding import ModularSum, modular_sum
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.encoding.whole import bits_for, decode_whole, encode_whole
from fivefold.federated.privacy import skellam
from fivefold.federated.privacy.accounting import Curve, add, epsilon, least_multiplier, skellam_curve
from fivefold.models.formats.linear import Columns
from fivefold.models.statistics import GRAINS, POWERS, columns_from, exponents, moments, units

RELEASES = 2
FINE = 2**12
"""With noise, counts, values and squares are told in so many parts of the most that a row can give."""
COVERED = 0.98
"""With noise, a column's unit is above this share of its values, and those beyond it are cut: no row alone decides."""
MOST_ROWS = 2**24
POWERS_ASKED, MOMENTS_ASKED, DESCRIBED = range(3)

Paying = Callable[[str, str, Curve], object]
"""Called with a key, what is released and its curve before that happens; raises when it may not."""


class Described(msgspec.Struct, frozen=True):
    """How columns enter a model, and how many rows all sites have (about, with noise)."""

    columns: Columns
    total: int


class Part(Protocol):
    """The sum of some sites' vectors, and whose they are."""

    @property
    def vector(self) -> np.ndarray: ...


class _Noise(msgspec.Struct, frozen=True):
    share: int
    curve: Curve


class _Questions:
    """The two sums as rounds see them: one length, one number of bits.

    `levels` is the number of categories of each column, -1 for numbers. All sites have at most `rows` rows together.
    Under `dp` each site, of at most `sites`, adds its share of the noise.
    """

    def __init__(
        self,
        levels: tuple[int, ...],
        *,
        sites: int,
        rows: int = MOST_ROWS,
        dp: DP | None = None,
        releases: int = RELEASES,
        min_survivors: int = 1,
    ) -> None:
        if dp is not None and dp.unit != "row":
            raise Invalid(
                "statistics of columns have no bound for a whole site.", hint="Standardise by public numbers."
            )
        self.levels, self.private, self._dp = levels, dp is not None, dp
        width = len(levels)
        self.length = width * POWERS
        """Numbers in a site's vector: the shorter answer is filled up with zeros."""
        self._noise: tuple[_Noise, ...] = ()
        most = GRAINS**2
        if dp is not None:
            first = _noise(dp, math.sqrt(width), width * POWERS, releases, min_survivors)
            self._noise = (first, _noise(dp, FINE * math.sqrt(3 * width), 3 * width, releases, min_survivors))
            most = FINE
        reach = max((skellam.reach(noise.share) for noise in self._noise), default=0)
        self.bits = bits_for(rows * most + sites * reach)
        """Bits of each number."""
        self._deviation = math.sqrt(self._noise[0].share * sites) if self._noise else 0.0


class Server(_Questions):
    """The server's side; its state is arrays."""

    def begin(self) -> dict[str, np.ndarray]:
        """The state before the first sum."""
        return {"stage": np.array(POWERS_ASKED), "unit": np.zeros(len(self.levels))}

    def broadcast(self, state: Mapping[str, np.ndarray], pay: Paying | None = None) -> dict[str, np.ndarray]:
        """What sites are sent. `pay` is called for the sum that is asked for; where it raises, nothing is asked."""
        stage = int(state["stage"])
        if pay is not None and self._noise:
            key, what = (("powers", "counts of powers of two"), ("moments", "counts, sums and squares"))[stage]
            pay(f"statistics/{key}", f"{what} of the columns", self._noise[stage].curve)
        return dict(state)

    def step(self, parts: Sequence[Part], state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The state after a sum. Raises Invalid for one of another length, and when no site has a row."""
        total = modular_sum([part.vector for part in parts], 64)
        stage, width = int(state["stage"]), len(self.levels)
        if total.shape != (self.length,) or stage == DESCRIBED:
            raise Invalid(f"a sum of the shape {total.shape} is not asked for (accepted: ({self.length},)).")
        told = decode_whole(total, self.bits)
        if stage == POWERS_ASKED:
            counts = told.reshape(width, POWERS)
            noise = 4 * self._deviation
            unit = np.array([_covering(row, noise) for row in counts]) if self.private else units(counts)
            return {"stage": np.array(MOMENTS_ASKED), "unit": unit}
        if self.private:
            noisy = told[: 3 * width].reshape(3, width) / FINE
            columns, rows = _columns(noisy, state["unit"], self.levels), max(1, round(float(noisy[0].max())))
        else:
            sums = told[: 4 * width].reshape(width, 4)
            columns, rows = columns_from(sums, state["unit"], self.levels), int(sums[0, 0])
            if not rows:
                raise Invalid("no site has a row.")
        found = {"means": columns.means, "scales": columns.scales, "flagged": columns.flagged}
        return {"stage": np.array(DESCRIBED), "total": np.array(rows), **{n: np.array(v) for n, v in found.items()}}

    def epsilon(self, rounds: int) -> float | None:
        """The epsilon of the first `rounds` sums; None without noise."""
        if self._dp is None:
            return None
        return epsilon(add([noise.curve for noise in self._noise[:rounds]]), self._dp.delta)

    def done(self, state: Mapping[str, np.ndarray]) -> bool:
        """Whether both sums were taken."""
        return int(state["stage"]) == DESCRIBED

    def described(self, state: Mapping[str, np.ndarray]) -> Described:
        """The description, once it is done."""
        means, scales, flagged = (tuple(state[n].tolist()) for n in ("means", "scales", "flagged"))
        return Described(Columns(means, scales, flagged, self.levels), int(state["total"]))


class Site(_Questions):
    """A site's side, over its rows."""

    def over(self, x: np.ndarray) -> Site:
        """This site with its rows `(n, features)`, NaN for null."""
        self._x = x
        return self

    def __call__(self, arrays: Mapping[str, np.ndarray], random: RandomBytes = os.urandom) -> np.ndarray:
        """The vector `(length,)` uint64 that is asked for."""
        stage = int(arrays["stage"])
        if stage == POWERS_ASKED:
            told = exponents(self._x).ravel()
        else:
            told = (_bounded if self.private else moments)(self._x, arrays["unit"]).ravel()
        if self._noise:
            told = told + skellam.skellam(self._noise[stage].share, len(told), random)
        return encode_whole(np.concatenate([told, np.zeros(self.length - len(told), dtype=np.int64)]), self.bits)


class _Sum(NamedTuple):
    vector: np.ndarray


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
    more: dict[str, Any] = {"sites": len(sites), "dp": dp, "releases": releases, "min_survivors": min_survivors}
    server, held = Server(levels, **more), [Site(levels, **more).over(x) for x in sites]
    state = server.begin()
    while not server.done(state):
        sent = server.broadcast(state, pay)
        state = server.step([_Sum(modular([site(sent, random) for site in held], server.bits))], state)
    return server.described(state)


def _noise(dp: DP, change: float, size: int, releases: int, min_survivors: int) -> _Noise:
    multiplier = least_multiplier(
        dp.epsilon, dp.delta, releases, lambda m: skellam_curve((m * change) ** 2, change, size)
    )
    # a little more than is needed: curves of different releases are not quite of one shape
    share = math.ceil((1.01 * multiplier * change) ** 2 / min_survivors)
    return _Noise(share, skellam_curve(share * min_survivors, change, size))


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
