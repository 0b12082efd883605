"""Tensors of one value a row, in the Open Inference Protocol's types: read into typed cells, and written.

A null is a NaN in a floating point tensor, and null in the data of a JSON tensor; the other binary tensors have none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.types import Type
from fivefold.core.values import typed
from fivefold.features.fields import shown
from fivefold.realtime.protocols.bounds import require_rows

NUMBERS = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_WHOLE = tuple(n for n in NUMBERS if "INT" in n)
ACCEPTED = {
    Type.INT64: _WHOLE,
    Type.FLOAT64: ("FP64", "FP32", "FP16", *_WHOLE),
    Type.BOOL: ("BOOL",),
    Type.STRING: ("BYTES",),
    Type.TIMESTAMP: ("INT64", "BYTES"),
}
"""Which datatypes a field of each type takes; the first is the one that metadata names."""

DATATYPE = {
    Type.INT64: "INT64",
    Type.FLOAT64: "FP64",
    Type.BOOL: "BOOL",
    Type.STRING: "BYTES",
    Type.TIMESTAMP: "INT64",
}


def require_datatype(name: str, datatype: str, kind: Type) -> None:
    """Raise Invalid for a datatype that a field does not take, Unsupported for one that nothing here reads."""
    if datatype not in ACCEPTED[kind]:
        wrong = Unsupported if datatype == "BF16" else Invalid
        raise wrong(
            f"the input {name!r} has the datatype {shown(datatype)} (accepted: {', '.join(ACCEPTED[kind])}).",
            hint=f"The field is {kind}.",
        )


def rows_of_shape(name: str, shape: Sequence[int]) -> int:
    """How many rows a tensor has, which must be of the shape [n] or [n, 1]. Raises Invalid for another, or for none."""
    if not 1 <= len(shape) <= 2 or (len(shape) == 2 and shape[1] != 1) or shape[0] < 0:
        raise Invalid(f"the input {name!r} has the shape {shown(list(shape[:9]))} (accepted: [n] or [n, 1], n rows).")
    require_rows(shape[0], f"rows in the shape of the input {name!r}")
    return shape[0]


def column(name: str, datatype: str, values: Iterable[Any], kind: Type) -> list[Any]:
    """Cells of a field from the values of a tensor. Raises Invalid for one that does not fit, with its row."""
    cells: list[Any] = []
    for i, value in enumerate(values):
        if value is None or value != value:
            cells.append(None)
            continue
        try:
            if isinstance(value, bytes):
                value = value.decode()
            cells.append(typed(name, value, kind))
        except UnicodeDecodeError as e:
            raise Invalid(f"row {i}: the input {name!r} is not UTF-8: {e.reason} at byte {e.start}.") from None
        except Invalid as e:
            raise Invalid(f"row {i}: {e.message}", hint=e.hint) from None
    return cells


def from_raw(name: str, datatype: str, raw: bytes | memoryview, rows: int) -> list[Any]:
    """The values of a binary tensor: little-endian, unpadded; bytes with their length (u32) before each.

    Raises Invalid when it does not hold exactly as many as there are rows.
    """
    if datatype == "BYTES":
        return _texts(name, memoryview(raw), rows)
    kind = NUMBERS[datatype]
    if len(raw) != rows * kind.itemsize:
        raise Invalid(f"the input {name!r} has {len(raw)} bytes; {rows} of {datatype} are {rows * kind.itemsize}.")
    if datatype == "BOOL" and rows and max(raw) > 1:
        raise Invalid(f"the input {name!r} has the byte {max(raw)} as a BOOL (accepted: 0, 1).")
    return list(np.frombuffer(raw, kind).tolist())


def _texts(name: str, raw: memoryview, rows: int) -> list[Any]:
    out: list[bytes] = []
    place = 0
    for i in range(rows):
        if place + 4 > len(raw):
            raise Invalid(f"the input {name!r} ends at byte {len(raw)}, before the length of its text {i} of {rows}.")
        (length,) = struct.unpack_from("<I", raw, place)
        place += 4 + length
        if place > len(raw):
            raise Invalid(f"the input {name!r} ends at byte {len(raw)}, within its text {i} of {length} bytes.")
        out.append(bytes(raw[place - length : place]))
    if place != len(raw):
        raise Invalid(f"the input {name!r} has {len(raw) - place} bytes after its {rows} texts.")
    return out


def from_json(name: str, datatype: str, data: Any, rows: int, width: int) -> list[Any]:
    """The values of a tensor's JSON data, flat or nested. Raises Invalid for another length, or another type."""
    if not isinstance(data, list):
        raise Invalid(f"the data of the input {name!r} is {shown(data)}, not a list.")
    if width == 2 and data and all(isinstance(v, list) and len(v) == 1 for v in data):
        data = [v[0] for v in data]
    if len(data) != rows:
        raise Invalid(f"the data of the input {name!r} has {len(data)} values, and its shape {rows}.")
    values: list[Any] = data
    for i, value in enumerate(values):
        if value is not None and not fits(value, datatype):
            raise Invalid(f"row {i}: the input {name!r} is {shown(value)}, which is not {datatype}.")
    return values


def fits(value: object, datatype: str) -> bool:
    """Whether a value, as Python holds it, is one of a datatype."""
    if datatype == "BYTES":
        return type(value) is str
    kind = NUMBERS[datatype]
    if kind.kind == "b":
        return type(value) is bool
    if kind.kind == "f":
        return type(value) in (int, float)
    bits = 8 * kind.itemsize
    least, most = (0, 2**bits) if kind.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return type(value) is int and least <= value < most


def to_raw(values: Sequence[Any], datatype: str) -> bytes:
    """A binary tensor of values, row after row."""
    if datatype == "BYTES":
        texts = [v.encode() for v in values]
        return b"".join(struct.pack("<I", len(t)) + t for t in texts)
    return np.asarray(values, NUMBERS[datatype]).tobytes()
