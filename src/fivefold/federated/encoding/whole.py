"""Whole numbers in a sum modulo a power of two: exact, without rounding."""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import Invalid

MOST_BITS = 62


def bits_for(bound: int) -> int:
    """The bits of a modulus above twice `bound`, which no sum may exceed in size. Raises Invalid for more than 62."""
    bits = (2 * bound).bit_length()
    if bits > MOST_BITS:
        raise Invalid(f"sums of up to {bound} need a modulus of {bits} bits (accepted: {MOST_BITS} at most).")
    return bits


def encode_whole(values: np.ndarray, bits: int) -> np.ndarray:
    """Whole numbers `(n,)` int64 as uint64 below `2**bits`, negative ones as their complement.

    Raises Invalid for another type and for a number that is not below half the modulus in size.
    """
    if values.dtype != np.int64:
        raise Invalid(f"an array of {values.dtype} is given (accepted: int64).")
    half = 1 << (bits - 1)
    if len(values) and (int(values.max()) >= half or int(values.min()) <= -half):
        raise Invalid(f"a number of {int(np.abs(values).max())} does not fit a modulus of {bits} bits.")
    return (values & np.int64((1 << bits) - 1)).astype(np.uint64)


def decode_whole(total: np.ndarray, bits: int) -> np.ndarray:
    """The sum `(n,)` int64 from the sum modulo `2**bits` or a larger power of two. Raises Invalid for another type."""
    if total.dtype != np.uint64:
        raise Invalid(f"an array of {total.dtype} is given (accepted: uint64).")
    lifted = (total & np.uint64((1 << bits) - 1)).astype(np.int64)
    lifted[lifted >= 1 << (bits - 1)] -= 1 << bits
    return lifted
