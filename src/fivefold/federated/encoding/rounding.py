"""Rounding at random to whole numbers, right on average, without making a vector longer than allowed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fivefold.core.errors import Invalid

RandomBytes = Callable[[int], bytes]
DRAWS = 1000
"""Each draw is short enough with a chance of 39 % or more: so many fail together never."""


def round_at_random(vector: np.ndarray, random: RandomBytes, longest: float = math.inf) -> np.ndarray:
    """Whole numbers `(n,)` int64 whose mean is the vector, drawn again until their length (L2) is at most `longest`.

    Drawing again biases nothing that matters where `longest` is `rounded_length` (Kairouz, Liu and Steinke 2021, 4.1).
    Raises Invalid where no draw is short enough.
    """
    low = np.floor(vector)
    share = vector - low
    for _ in range(DRAWS):
        chance = np.frombuffer(random(4 * len(vector)), np.uint32) / 2.0**32
        drawn: np.ndarray = (low + (chance < share)).astype(np.int64)
        if longest == math.inf or float(drawn.astype(np.float64) @ drawn) <= longest * longest:
            return drawn
    raise Invalid(f"a vector of the length {np.linalg.norm(vector):g} is not rounded to one of at most {longest:g}.")


def rounded_length(length: float, size: int) -> float:
    """How long a rounded vector `(size,)` may be when it was at most `length` (L2): met with a chance of at least 39 %.

    The bound of Kairouz, Liu and Steinke 2021, proposition 22, with beta = exp(-1/2).
    """
    sure = length + math.sqrt(size)
    likely = length**2 + size / 4 + math.sqrt(1.0) * (length + math.sqrt(size) / 2)
    return min(sure, math.sqrt(likely))
