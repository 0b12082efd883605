"""Fixed-point integers of a column, and exact sums of them and of their squares over ranges."""

from __future__ import annotations

import math

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import wide
from fivefold.features.kernel.arrays import Array, Ints, Span, prefix
from fivefold.features.kernel.columns import Column
from fivefold.features.kernel.wide import Wide

LIMIT = 2**40


def fixed(column: Column, scale: int | None, where: str) -> Ints:
    """rint(x·2^scale) of each value; of integers and booleans the value itself.

    Raises Invalid, naming `where`, the value and the scale, for one of 2**40 or more in size (infinities too).
    """
    if column.type is not Type.FLOAT64:
        numbers = column.values.astype(np.int64)
        beyond = (numbers >= LIMIT) | (numbers <= -LIMIT)
    else:
        with np.errstate(over="ignore"):
            scaled = np.rint(column.values * math.ldexp(1.0, scale or 0))
        beyond = np.abs(scaled) >= LIMIT
        numbers = np.where(beyond, 0, scaled).astype(np.int64)
    if beyond.any():
        value = column.values[int(np.argmax(beyond))].item()
        raise Invalid(
            f"{where}: value {value!r} at scale {scale or 0} is out of range (accepted: |rint(x·2^s)| < 2^40).",
            hint="Quarantine such rows when they are read, or declare a smaller scale.",
        )
    return numbers


def sums(numbers: Ints, span: Span) -> Wide:
    """The exact sum of each range of integers below 2**40 in size."""
    largest = int(np.abs(numbers).max(initial=0))
    if largest * int(span.size.max(initial=0)) < 2**63:
        return wide.of(_differences(prefix(numbers, np.int64), span))
    halves = (_differences(prefix(part, np.int64), span) for part in (numbers >> 32, numbers & 0xFFFFFFFF))
    return wide.from_halves(*halves)


def sums_of_squares(numbers: Ints, span: Span) -> Wide:
    """The exact sum of the squares of each range of integers below 2**40 in size."""
    largest = int(np.abs(numbers).max(initial=0))
    if largest * largest * int(span.size.max(initial=0)) < 2**63:
        return wide.of(_differences(prefix(numbers * numbers, np.int64), span))
    d0, d1, d2 = (_differences(prefix(d, np.uint64), span) for d in wide.square_digits(numbers))
    return wide.from_digits(d0, d1, d2)


def _differences(sums_so_far: Array, span: Span) -> Array:
    # the running sums may wrap; a difference is right mod 2^64, and the true one fits
    return sums_so_far[span.hi] - sums_so_far[span.lo]
