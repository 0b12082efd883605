"""Vectors of integers modulo 2**bits, and as few bytes of them as there are bits."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fivefold.core.errors import Invalid

Vector = NDArray[Any]
"""One dimension of unsigned integers."""

_GROUP = 64
_PACKED = 57
"""Bits that lie within 64, whichever bit of a byte they begin at."""


class Ring:
    """Integers modulo R = 2**bits, for 1 to 64 bits.

    They are held in words of 32 or 64 bits whose surplus high bits mean nothing until `reduced`: unsigned words wrap
    around by a multiple of R, so sums are exact whatever was added before.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.width = bits if bits <= _PACKED else 64
        """Bits of a value on the wire: as many as it has, or 64 when that is nearly the same."""
        self.dtype = np.dtype("<u4" if bits <= 32 else "<u8")
        self._mask = self.dtype.type((1 << bits) - 1)

    def words(self, values: Vector, most: int) -> Vector:
        """A copy as words. Raises Invalid unless it is one dimension of unsigned integers, none above `most`."""
        if values.ndim != 1 or values.dtype.kind != "u":
            raise Invalid(f"the vector is {values.dtype} of shape {values.shape} (accepted: uint64 of one dimension).")
        if values.size and int(values.max()) > most:
            at = int(values.argmax())
            raise Invalid(
                f"the vector holds {int(values[at])} at {at} (accepted: 0 to {most}).",
                hint="Clip before encoding: what is too large would silently wrap around.",
            )
        words: Vector = values.astype(self.dtype)
        return words

    def reduced(self, words: Vector) -> Vector:
        """The values themselves, below R, as uint64."""
        return np.bitwise_and(words, self._mask).astype(np.uint64)

    def packed_size(self, length: int) -> int:
        """Bytes of a packed vector: ceil(length * width / 8)."""
        return -(-length * self.width // 8)

    def pack(self, words: Vector) -> bytes:
        """Value i as the bits [i * width, (i + 1) * width) of one little-endian number."""
        length, width = len(words), self.width
        if width == 8 * self.dtype.itemsize:
            return np.bitwise_and(words, self._mask).tobytes()
        # 64 values of `width` bits fill `width` words of 64 exactly: one such group is a column
        columns = np.zeros((_GROUP, -(-length // _GROUP)), np.uint64)
        full = length // _GROUP * _GROUP
        columns[:, : full // _GROUP] = (words[:full] & self._mask).reshape(-1, _GROUP).T
        if full < length:
            columns[: length - full, -1] = words[full:] & self._mask
        out = np.zeros((width, columns.shape[1]), np.uint64)
        for value in range(_GROUP):
            word, shift = divmod(value * width, 64)
            out[word] |= columns[value] << np.uint64(shift)
            if shift + width > 64:
                out[word + 1] |= columns[value] >> np.uint64(64 - shift)
        return np.ascontiguousarray(out.T).tobytes()[: self.packed_size(length)]

    def unpack(self, data: bytes, length: int) -> Vector:
        """The words of `pack`. Raises Invalid for another number of bytes, and for bits set beyond the last value."""
        if len(data) != self.packed_size(length):
            raise Invalid(f"a vector of {length} values has {self.packed_size(length)} bytes, not {len(data)}.")
        width = self.width
        if width == 8 * self.dtype.itemsize:
            return np.frombuffer(data, self.dtype)
        spare = 8 * len(data) - length * width
        if spare and data[-1] >> (8 - spare):
            raise Invalid("bits are set beyond the last value of a vector.")
        # 8 values fill `width` bytes; each of them lies within 64 bits, or even 32, from the byte in which it begins
        near = np.dtype("<u4" if width <= 25 else "<u8")
        groups = -(-length // 8)
        bytes_ = np.zeros(groups * width + 8, np.uint8)
        bytes_[: len(data)] = np.frombuffer(data, np.uint8)
        words = np.empty((groups, 8), self.dtype)
        mask = near.type(self._mask)
        for value in range(8):
            byte, shift = divmod(value * width, 8)
            found = np.ndarray(groups, near, bytes_, byte, (width,)) >> near.type(shift)
            found &= mask
            words[:, value] = found
        return words.reshape(-1)[:length]


if sys.byteorder != "little":  # key streams are added as they lie in memory
    raise ImportError("secure sums need a little-endian machine.")
