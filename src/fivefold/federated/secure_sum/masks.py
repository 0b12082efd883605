"""Masks: the key stream of AES-256 in counter mode, added to a vector or taken away."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fivefold.federated.secure_sum.ring import Vector

_BLOCK = 1 << 17
"""Bytes at once: the stream and the words it is added to stay in the processor's cache."""

_ZEROS = bytes(_BLOCK)
_FROM_NOTHING = modes.CTR(bytes(16))
"""The counter starts at 0: every key makes one stream and is never used again."""


class Masks:
    """Adds masks to words in place. Words of 32 or 64 bits are read little-endian from the stream; their low bits are
    uniform over the ring."""

    def __init__(self, into: Vector) -> None:
        self._into = into
        # update_into wants a block more than it writes
        self._buffer = bytearray(_BLOCK + 15)
        self._words = np.frombuffer(self._buffer, into.dtype, _BLOCK // into.dtype.itemsize)

    def add(self, key: bytes) -> None:
        """Add the mask of a key of 32 bytes."""
        self._apply(key, np.add)

    def subtract(self, key: bytes) -> None:
        """Take it away again."""
        self._apply(key, np.subtract)

    def _apply(self, key: bytes, operation: np.ufunc) -> None:
        stream = Cipher(algorithms.AES256(key), _FROM_NOTHING).encryptor()
        step = len(self._words)
        for start in range(0, len(self._into), step):
            part = self._into[start : start + step]
            stream.update_into(memoryview(_ZEROS)[: part.nbytes], self._buffer)
            operation(part, self._words[: len(part)], out=part)
