"""Named arrays as bytes. Nothing but numbers of known types can be in them, so that reading them runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from fivefold.core.errors import Invalid

Arrays = Mapping[str, NDArray[Any]]

TYPES = ("<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "|b1")
MOST_ARRAYS = 10_000
MOST_DIMENSIONS = 16
_MAGIC = b"ffa1"


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * np.dtype(self.type).itemsize


def encode(arrays: Arrays) -> bytes:
    """Arrays as a header and their bytes, in the order of names. Raises Invalid for a type that is not a number's."""
    headers, parts = [], []
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in TYPES:
            raise Invalid(f"array {name!r} is of type {array.dtype} (accepted: {', '.join(TYPES)}).")
        headers.append(_Header(name, array.dtype.str, array.shape))
        parts.append(np.ascontiguousarray(array).tobytes())
    header = msgspec.msgpack.encode(headers)
    return b"".join((_MAGIC, len(header).to_bytes(4, "little"), header, *parts))


def decode(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of `encode`, read-only views of `data`: nothing is allocated that the sender could make larger.

    Raises Invalid for anything else.
    """
    size = int.from_bytes(data[4:8], "little")
    if data[:4] != _MAGIC or len(data) < 8 + size:
        raise Invalid("these are no arrays.")
    try:
        headers = msgspec.msgpack.decode(data[8 : 8 + size], type=list[_Header])
    except msgspec.DecodeError as wrong:
        raise Invalid(f"the header of the arrays cannot be read: {wrong}.") from None
    if len(headers) > MOST_ARRAYS or len({h.name for h in headers}) != len(headers):
        raise Invalid(f"{len(headers)} arrays (accepted: up to {MOST_ARRAYS}, each name once).")
    arrays, at = {}, 8 + size
    for header in headers:
        if header.type not in TYPES or len(header.shape) > MOST_DIMENSIONS or any(n < 0 for n in header.shape):
            raise Invalid(f"array {header.name!r} has type {header.type!r} and shape {header.shape}.")
        if at + header.size > len(data):
            raise Invalid(f"array {header.name!r} has fewer bytes than its shape says.")
        count = math.prod(header.shape)
        arrays[header.name] = np.frombuffer(data, header.type, count, at).reshape(header.shape)
        at += header.size
    if at != len(data):
        raise Invalid(f"{len(data) - at} bytes too many follow the arrays.")
    return arrays
