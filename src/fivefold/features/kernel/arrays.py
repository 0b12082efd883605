"""Names for the array types the kernel passes around."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32] | npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


class Values(NamedTuple):
    """One value a query; where `valid` is false the value is null and what stands in `values` means nothing."""

    values: Array
    valid: Flags


class Span(NamedTuple):
    """Half-open ranges `[lo, hi)` of row positions, one a query; never `hi < lo`."""

    lo: Ints
    hi: Ints

    @property
    def size(self) -> Ints:
        return self.hi - self.lo


def prefix(amounts: Array, dtype: npt.DTypeLike) -> Array:
    """Sums of the first 0, 1, … n amounts; integers wrap, which differences undo."""
    out = np.zeros(len(amounts) + 1, dtype)
    np.cumsum(amounts, out=out[1:], dtype=dtype)
    return out
