"""A random rotation that everybody can make and undo: random signs, then the Walsh-Hadamard transform.

It spreads a vector evenly over its coordinates, so that few bits a coordinate tell it well (Suresh et al. 2017).
"""

from __future__ import annotations

import hashlib

import numpy as np


def padded(size: int) -> int:
    """The power of two that a vector of `size` is filled up to with zeros."""
    return 1 << max(size - 1, 0).bit_length()


def rotate(vector: np.ndarray, seed: bytes) -> np.ndarray:
    """A vector `(size,)` turned; `(padded(size),)` float64 of the same length (L2)."""
    out = np.zeros(padded(len(vector)))
    out[: len(vector)] = vector
    return hadamard(out * signs(seed, len(out)))


def unrotate(turned: np.ndarray, seed: bytes, size: int) -> np.ndarray:
    """The vector `(size,)` that was turned."""
    straight: np.ndarray = hadamard(turned) * signs(seed, len(turned))
    return straight[:size]


def hadamard(vector: np.ndarray) -> np.ndarray:
    """The transform of `(2**m,)`, divided by the root of its size, so that it is its own inverse."""
    out = vector
    half = 1
    while half < len(vector):
        pairs = out.reshape(-1, 2, half)
        out = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), axis=1)
        half *= 2
    return np.asarray(out.reshape(-1) / np.sqrt(len(vector)))


def signs(seed: bytes, count: int) -> np.ndarray:
    """Plus and minus ones `(count,)` from a seed, the same everywhere (SHAKE256)."""
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(b"rotation" + seed).digest((count + 7) // 8), np.uint8))
    out: np.ndarray = 1.0 - 2.0 * bits[:count]
    return out
