"""Exact integers wider than 64 bits, as arrays: 128-bit sums, 192-bit products, and their nearest double."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fivefold.features.kernel.arrays import Flags, Floats, Ints, Words

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


class Wide(NamedTuple):
    """Two's complement 128-bit integers: the value is `high * 2**64 + low`."""

    high: Ints
    low: Words


def of(numbers: Ints) -> Wide:
    """The same integers, wider."""
    numbers = np.asarray(numbers, np.int64)
    return Wide(numbers >> 63, numbers.view(np.uint64))


def add(a: Wide, b: Wide) -> Wide:
    """a + b mod 2**128."""
    low = a.low + b.low
    return Wide(a.high + b.high + (low < a.low), low)


def square(numbers: Ints) -> Wide:
    """The squares of integers below 2**40 in size."""
    return _join(*square_digits(numbers))


def square_digits(numbers: Ints) -> tuple[Words, Words, Words]:
    """The squares of integers below 2**40 in size as digits of base 2**32, lowest first."""
    size = np.abs(numbers).view(np.uint64)
    high, low = size >> _32, size & _LOW
    lowest = low * low
    middle = (lowest >> _32) + np.uint64(2) * high * low
    return lowest & _LOW, middle & _LOW, high * high + (middle >> _32)


def from_digits(d0: Words, d1: Words, d2: Words) -> Wide:
    """d0 + d1·2^32 + d2·2^64 of sums of digits, each below 2**63."""
    return _join(d0, d1, d2)


def from_halves(high: Ints, low: Ints) -> Wide:
    """high·2^32 + low."""
    shifted = Wide(high >> 32, (high << 32).view(np.uint64))
    return add(shifted, of(low))


def _join(d0: Words, d1: Words, d2: Words) -> Wide:
    low = d0 + (d1 << _32)
    carry = (low < d0).astype(np.uint64)
    return Wide((d2 + (d1 >> _32) + carry).view(np.int64), low)


def narrow(numbers: Wide) -> tuple[Ints, Flags]:
    """The integers as int64, and where they fit."""
    low = numbers.low.view(np.int64)
    return low, numbers.high == low >> 63


def to_float(numbers: Wide) -> Floats:
    """The double nearest to each integer, ties to even."""
    small, fits = narrow(numbers)
    if fits.all():
        return small.astype(np.float64)
    negative, size = _magnitude(numbers)
    rounded = _round(_digits(size))
    return np.where(negative, -rounded, rounded)


def spread(count: Ints, total: Wide, squares: Wide) -> Floats:
    """The double nearest to count·squares - total², never negative; count is below 2**32 and |total| below 2**96."""
    n = [np.asarray(count, np.int64).view(np.uint64)]
    _, size = _magnitude(total)
    s = _digits(size)[:3]
    return _round(_subtract(_multiply(n, _digits(squares)), _multiply(s, s)))


def _magnitude(numbers: Wide) -> tuple[Flags, Wide]:
    negative = numbers.high < 0
    low = np.where(negative, ~numbers.low + np.uint64(1), numbers.low)
    high = np.where(negative, ~numbers.high + (low == 0), numbers.high)
    return negative, Wide(high, low)


def _digits(size: Wide) -> list[Words]:
    high = size.high.view(np.uint64)
    return [size.low & _LOW, size.low >> _32, high & _LOW, high >> _32]


def _multiply(a: list[Words], b: list[Words]) -> list[Words]:
    """The lowest six digits of a product, digits of base 2**32 lowest first."""
    out = [np.zeros_like(b[0]) for _ in range(6)]
    for i, x in enumerate(a):
        carry = np.zeros_like(b[0])
        for k in range(i, 6):
            # at most (2^32-1)^2 + 2·(2^32-1) = 2^64-1
            step = out[k] + carry + (x * b[k - i] if k - i < len(b) else np.uint64(0))
            out[k], carry = step & _LOW, step >> _32
    return out


def _subtract(a: list[Words], b: list[Words]) -> list[Words]:
    out = []
    borrow = np.zeros_like(a[0])
    for x, y in zip(a, b, strict=True):
        step = x - y - borrow
        out.append(step & _LOW)
        borrow = (step >> _32) & np.uint64(1)
    return out


def _round(digits: list[Words]) -> Floats:
    """The nearest double: 64 leading bits with every lower bit folded into the last, converted once, scaled exactly."""
    d2 = d1 = d0 = rest = np.zeros_like(digits[0])
    place = np.zeros(len(digits[0]), np.int64)
    lower: Words = np.zeros_like(digits[0])
    for k, digit in enumerate(digits):
        here = digit != 0
        below = [digits[k - 1] if k > 0 else np.zeros_like(digit), digits[k - 2] if k > 1 else np.zeros_like(digit)]
        if k > 2:
            lower = lower | digits[k - 3]
        d2, d1, d0 = np.where(here, digit, d2), np.where(here, below[0], d1), np.where(here, below[1], d0)
        rest, place = np.where(here, lower, rest), np.where(here, k, place)
    length = np.frexp(d2.astype(np.float64))[1].astype(np.int64)
    shift = np.uint64(32) - length.view(np.uint64)
    shift = np.where(d2 == 0, np.uint64(0), shift)
    top = (((d2 << _32) | d1) << shift) | (d0 >> (_32 - shift))
    lost = (((d0 << shift) & _LOW) | rest) != 0
    leading = (top | lost.astype(np.uint64)).astype(np.float64)
    nearest: Floats = np.ldexp(leading, 32 * (place - 1) - shift.view(np.int64))
    return nearest
