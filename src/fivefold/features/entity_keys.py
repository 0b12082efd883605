"""An entity's key as bytes: typed and unambiguous, the same wherever it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fivefold.core.types import Type

LONGEST = 256
"""Bytes of the longest key that is written out: stores bound their keys, LMDB to 511 bytes with the view's name."""

_NEVER = b"\xc1"  # the one byte that MessagePack never uses, so no key that is written out begins with it

_encode = msgspec.msgpack.Encoder().encode


def key_bytes(values: Sequence[object]) -> bytes:
    """MessagePack of the key columns' values, in order; of a long key the byte 0xc1 and its SHA-256."""
    written = _encode(values)
    return written if len(written) <= LONGEST else _digested(written)


def _digested(written: bytes) -> bytes:
    return _NEVER + hashlib.sha256(written).digest()


def key_reader(types: Sequence[Type]) -> Callable[[Sequence[object]], bytes | None]:
    """A function from key values to their bytes, None when one of them is null.

    An integer becomes a float, and -0.0 becomes 0.0, where the column's type is float64.
    """
    floats = [i for i, kind in enumerate(types) if kind is Type.FLOAT64]

    def read(values: Sequence[object]) -> bytes | None:
        if None in values:
            return None
        if floats:
            values = [float(v) + 0.0 if i in floats else v for i, v in enumerate(values)]  # type: ignore[arg-type]
        return key_bytes(list(values))

    return read


def row_key(columns: Sequence[str], types: Sequence[Type]) -> Callable[[Mapping[str, Any]], bytes]:
    """A function from rows to the bytes of their entities' keys, as `key_reader` makes them.

    Of a row with a null key it gives a key that no entity has.
    """
    if Type.FLOAT64 in types:
        read = key_reader(types)
        return lambda row: read([row[c] for c in columns]) or _NEVER
    if len(columns) == 1:
        (column,) = columns
        if types[0] is Type.STRING:
            return lambda row: w if len(w := _encode([row[column]])) <= LONGEST else _digested(w)
        return lambda row: _encode([row[column]])
    return lambda row: key_bytes([row[c] for c in columns])
