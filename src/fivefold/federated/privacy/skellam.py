"""Skellam noise: the difference of two Poisson variables, whose sums are Skellam again (Agarwal et al. 2021).

Drawn from a table of its distribution function, in whole numbers of 128 bits, by 128 random bits a value: no floating
point is involved, and the distribution drawn from differs from the true one by at most 2**-126 in total variation.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.encoding.rounding import RandomBytes

LARGEST = 10**12
"""Variance up to which a table is made: two million entries in about a second."""
_GUARD = 200


class Table(msgspec.Struct, frozen=True):
    """Chances of at most -reach, -reach + 1, ... in units of 2**-128, split into two words each."""

    reach: int
    high: np.ndarray
    low: np.ndarray


def reach(variance: int) -> int:
    """What a value never exceeds: beyond it lies less than 2**-128 of the distribution (Bernstein's inequality)."""
    nats = 129 * math.log(2)
    return math.ceil(nats / 3 + math.sqrt(nats * nats / 9 + 2 * nats * variance)) if variance else 0


def skellam(variance: int, count: int, random: RandomBytes) -> np.ndarray:
    """Values `(count,)` int64 of mean 0 and a variance, by random bytes that must be secret (`os.urandom`).

    Raises Invalid for a variance that is no whole number from 0 to `LARGEST`.
    """
    if type(variance) is not int or not 0 <= variance <= LARGEST:
        raise Invalid(f"variance={variance!r} of noise (accepted: a whole number from 0 to {LARGEST}).")
    if variance == 0:
        return np.zeros(count, dtype=np.int64)
    table = distribution(variance)
    drawn = np.frombuffer(random(16 * count), dtype="<u8").reshape(count, 2)
    at = np.searchsorted(table.high, drawn[:, 0], side="left")
    # where the first words are equal, the second ones decide; that happens once in 2**64 draws or so
    for i in np.flatnonzero(table.high[np.minimum(at, len(table.high) - 1)] == drawn[:, 0]):
        while at[i] < len(table.high) and (table.high[at[i]], table.low[at[i]]) <= (drawn[i, 0], drawn[i, 1]):
            at[i] += 1
    return at.astype(np.int64) - table.reach


@lru_cache(maxsize=8)
def distribution(variance: int) -> Table:
    """The table of a variance: chances are ratios of Bessel functions, I(k-1) = I(k+1) + (2k / variance) I(k).

    Backwards that recurrence loses nothing (Miller's algorithm); it runs in whole numbers.
    """
    far = reach(variance)
    start = far + far // 8 + 64
    chances = [0] * (far + 1)
    after, here = 0, 1 << _GUARD
    for k in range(start, 0, -1):
        if k <= far:
            chances[k] = here
        after, here = here, after + 2 * k * here // variance
    chances[0] = here
    whole = chances[0] + 2 * sum(chances[1:])
    high, low = np.empty(2 * far, dtype=np.uint64), np.empty(2 * far, dtype=np.uint64)
    total = 0
    for i in range(2 * far):
        total += chances[abs(i - far)]
        high[i], low[i] = divmod((total << 128) // whole, 1 << 64)
    return Table(far, high, low)
