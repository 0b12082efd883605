"""The value of a feature from its state: the one finaliser for history, stream and lookup.

States are arrays, one element a query: counts of non-null values as int64, exact sums as `Wide` integers, buckets and
register histograms as int64. Every operation is exact or correctly rounded (IEEE 754), so a value does not depend on
how many stand beside it in the array, nor on the processor.
"""

from __future__ import annotations

import math

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import sketch, wide
from fivefold.features.kernel.arrays import Array, Flags, Floats, Ints, Values, prefix
from fivefold.features.kernel.wide import Wide

EXACT_DISTINCT = 4096  # up to so many distinct values are counted exactly


def count(n: Ints) -> Values:
    """A number of rows or of values: never null."""
    return Values(n, np.ones(len(n), np.bool_))


def total(n: Ints, sums: Wide, scale: int | None, kind: Type, where: str) -> Values:
    """The sum: float(Σi)·2^-s for a float64 column, Σi as int64 for others; null of nothing.

    Raises Invalid, naming `where`, when an integer sum does not fit int64.
    """
    if kind is Type.FLOAT64:
        return Values(wide.to_float(sums) * math.ldexp(1.0, -(scale or 0)), n > 0)
    number, fits = wide.narrow(sums)
    if not fits.all():
        raise Invalid(f"{where}: a sum does not fit int64.", hint="Declare the column as float64.")
    return Values(number, n > 0)


def mean(n: Ints, sums: Wide, scale: int | None) -> Values:
    """(float(Σi) / float(n))·2^-s; null of nothing."""
    return Values(wide.to_float(sums) / _divisor(n) * math.ldexp(1.0, -(scale or 0)), n > 0)


def std(n: Ints, sums: Wide, squares: Wide, scale: int | None) -> Values:
    """The sample deviation √(float(n·Σi² - (Σi)²) / float(n·(n-1)))·2^-s; null below two values. n is below 2**31."""
    spread = wide.spread(n, sums, squares)
    return Values(np.sqrt(spread / _divisor(n * (n - 1))) * math.ldexp(1.0, -(scale or 0)), n > 1)


def extreme(n: Ints, values: Array) -> Values:
    """The least or greatest value; null of nothing."""
    return Values(values, n > 0)


def distinct(exact: Ints, histogram: Ints) -> Values:
    """How many distinct values: the exact number up to 4096, else the estimate from the registers' histogram.

    `histogram` has the shape (54, number of queries above 4096), those queries in order.
    """
    many = exact > EXACT_DISTINCT
    out = exact.copy()
    # the set is known to hold more than the bound, whatever the estimate
    out[many] = np.maximum(sketch.estimate(histogram), EXACT_DISTINCT + 1)
    return count(out)


def rank(q: float, n: Ints) -> Ints:
    """Which value the q-quantile is, from 0 in ascending order: floor(q·(n-1)); 0 of nothing."""
    return np.floor(q * np.maximum(n - 1, 0).astype(np.float64)).astype(np.int64)


def quantile(n: Ints, buckets: Ints) -> Values:
    """The middle of the bucket of the value of that rank; null of nothing."""
    return Values(sketch.bucket_middle(buckets), n > 0)


def standing(counts: Ints, ranks: Ints) -> Ints:
    """Numbers from 0 that order values: the most frequent first, of equally frequent ones the least.

    `ranks` compare as the values do; both are below 2**31. Equal pairs have equal numbers, and no number is left out.
    """
    most, width = int(counts.max(initial=0)), int(ranks.max(initial=0)) + 1
    numbers: Ints = np.unique((most - counts) * width + ranks, return_inverse=True)[1]
    return numbers


def kth_most_frequent(different: Ints, values: Array, k: int) -> Values:
    """The k-th value in the order of `standing`; null where there are fewer than k different ones."""
    return Values(values, different >= k)


def top(different: Ints, values: Array, counts: Ints, k: int) -> Values:
    """The k-th most frequent value of each state.

    States stand one behind the other: each has as many elements of `values`, in ascending order, and of `counts`, all
    above 0, as `different` says.
    """
    before = prefix(different, np.int64)
    state = np.repeat(np.arange(len(different)), different)
    order = np.lexsort((standing(counts, np.arange(len(values))), state))
    out: Array = np.zeros(len(different), values.dtype)
    asked = different >= k
    out[asked] = values[order[before[:-1][asked] + k - 1]]
    return kth_most_frequent(different, out, k)


def empty_is_zero(fn: str) -> bool:
    """Whether a window without rows gives 0; all other functions give null."""
    return fn in ("count", "distinct")


def _divisor(n: Ints) -> Floats:
    nothing: Flags = n <= 0
    return np.where(nothing, 1, n).astype(np.float64)
