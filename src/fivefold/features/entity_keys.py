"""An entity's key as bytes: typed and unambiguous, the same wherever it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fivefold.core.types import Type

_encode = msgspec.msgpack.Encoder().encode


def key_bytes(values: Sequence[object]) -> bytes:
    """MessagePack of the key columns' values, in order; a float that is whole stays a float."""
    return _encode(values)


def key_reader(types: Sequence[Type]) -> Callable[[Sequence[object]], bytes | None]:
    """A function from key values to their bytes, None when one of them is null; integers become floats where needed."""
    floats = [i for i, kind in enumerate(types) if kind is Type.FLOAT64]

    def read(values: Sequence[object]) -> bytes | None:
        if None in values:
            return None
        if floats:
            values = [float(v) + 0.0 if i in floats else v for i, v in enumerate(values)]  # type: ignore[arg-type]
        return _encode(list(values))

    return read
