"""The two sketches of a feature, made only of exactly reproducible operations.

Quantiles: DDSketch (Masson, Rim, Lee, VLDB 2019) with its linearly interpolated mapping, 64 buckets an octave, so that
the bucket is the exponent and the six leading fraction bits of the double. The value is the bucket's middle, within
1/128 of any number in it. Distinct counts: HyperLogLog with 2^12 registers of a 64-bit hash and the estimator of
Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6, which needs no logarithm.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
import pyarrow as pa

from fivefold.features.kernel.arrays import Floats, Ints, Words
from fivefold.features.kernel.columns import Column, bits

_FRACTION = np.uint64(46)  # bits of a double below its exponent and six leading fraction bits
_SMALLEST = 64  # the bucket of 2^-1022; smaller numbers count as zero
_INFINITE = 2047 * 64

REGISTERS = 4096
RANKS = 53  # 52 bits of the hash are left for the rank: 1 to 53, and 0 for an empty register
_ALPHA = 0.7213475204444817  # 1 / (2 ln 2)


def bucket(numbers: Floats) -> Ints:
    """The signed bucket of each number, growing with it; 0 holds zero and all below 2**-1022 in size."""
    size = np.abs(numbers)
    index = (size.view(np.uint64) >> _FRACTION).astype(np.int64)
    index = np.where(index < _SMALLEST, 0, index)
    return np.where(numbers < 0, -index, index)


def bucket_middle(buckets: Ints) -> Floats:
    """The number that stands for a bucket: its middle, zero, or an infinity."""
    index = np.abs(buckets)
    middle = ((index.astype(np.uint64) << _FRACTION) | np.uint64(1 << 45)).view(np.float64)
    middle = np.where(index == 0, 0.0, np.where(index >= _INFINITE, np.inf, middle))
    return np.where(buckets < 0, -middle, middle)


def hashes(column: Column) -> Words:
    """A 64-bit hash of each value: splitmix64's mixing of its bits; of a text, of BLAKE2b-8 of its UTF-8 bytes."""
    if column.texts is None:
        return mix(bits(column))
    return mix(_digests(column.texts)[column.values])


def mix(x: Words) -> Words:
    """The output function of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _digests(texts: pa.Array) -> Words:
    joined = b"".join(hashlib.blake2b(t.encode(), digest_size=8).digest() for t in texts.to_pylist())
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def register_and_rank(hashed: Words) -> tuple[Ints, Ints]:
    """The register, 0 to 4095, of each hash (its 12 leading bits) and the rank, 1 to 53, of the rest."""
    rest = hashed & np.uint64((1 << 52) - 1)
    length = np.frexp(rest.astype(np.float64))[1]
    return (hashed >> np.uint64(52)).astype(np.int64), RANKS - length.astype(np.int64)


def estimate(histogram: Ints) -> Ints:
    """The number of distinct values from how many registers hold the rank 0, 1, … 53 (the first axis)."""
    sigma, tau = _tables()
    z = REGISTERS * tau[REGISTERS - histogram[RANKS]]
    for rank in range(RANKS - 1, 0, -1):
        z = 0.5 * (z + histogram[rank])
    z = z + REGISTERS * sigma[histogram[0]]
    found: Floats = np.rint(_ALPHA * REGISTERS * REGISTERS / z)
    return found.astype(np.int64)


@functools.cache
def _tables() -> tuple[Floats, Floats]:
    """Ertl's sigma(k/4096) and tau(k/4096) for every k; plain Python floats, so the same everywhere."""
    shares = [k / REGISTERS for k in range(REGISTERS + 1)]
    return np.array([_sigma(x) for x in shares]), np.array([_tau(x) for x in shares])


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1.0 - x, -1.0
    while z != before:
        x, before = math.sqrt(x), z
        y *= 0.5
        z -= (1.0 - x) * (1.0 - x) * y
    return z / 3.0
