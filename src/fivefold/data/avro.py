"""Avro datums of a stream: one record, every field a union of null and its type, without a header of their own.

Written here and not left to a library: bytes from outside end in a value or in Invalid, whatever they are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.core.values import shown

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES: dict[Type, Any] = {
    Type.INT64: "long",
    Type.FLOAT64: "double",
    Type.BOOL: "boolean",
    Type.STRING: "string",
    Type.TIMESTAMP: {"type": "long", "logicalType": "timestamp-micros"},
}
_DOUBLE = struct.Struct("<d")
# the places of null and of the type in each union, as they are written
_NULL, _VALUE = b"\x00", b"\x02"

Reader = Callable[[bytes, int], tuple[Any, int]]


class Malformed(Exception):
    """Bytes that are no value of the type that is due."""


def avro_schema(schema: Mapping[str, Type], name: str = "Event") -> dict[str, Any]:
    """The Avro schema that writers of a stream use; raises Invalid when a column's name is none in Avro."""
    for column in schema:
        if not _NAME.fullmatch(column):
            raise Invalid(
                f"the column {shown(column)} cannot be a field in Avro (accepted: letters, digits and _).",
                hint="Choose another name, or the format json or msgpack.",
            )
    fields = [{"name": c, "type": ["null", _TYPES[kind]], "default": None} for c, kind in schema.items()]
    return {"type": "record", "name": name, "fields": fields}


def read(data: bytes, columns: Sequence[tuple[str, Type]], place: int = 0) -> list[Any]:
    """The values of a datum that begins at `place` and fills the rest of the bytes. Raises Invalid."""
    row: list[Any] = []
    for name, kind in columns:
        union = data[place : place + 1]
        place += 1
        try:
            if union == _NULL:
                row.append(None)
            elif union == _VALUE:
                value, place = _READERS[kind](data, place)
                row.append(value)
            else:
                raise Malformed("it ends there" if not union else f"the byte {union!r} chooses neither null nor it")
        except Malformed as e:
            raise Invalid(
                f"the field {name!r} is no {kind} in Avro: {e}.", hint="Write with the schema of the stream."
            ) from None
    if place != len(data):
        raise Invalid(
            f"after the last field are {len(data) - place} more bytes.", hint="Write with the schema of the stream."
        )
    return row


def write(row: Sequence[Any], columns: Sequence[tuple[str, Type]]) -> bytes:
    """The datum of values of the columns' types."""
    parts = []
    for value, (_, kind) in zip(row, columns, strict=True):
        parts.append(_NULL if value is None else _VALUE + _WRITERS[kind](value))
    return b"".join(parts)


def _read_long(data: bytes, place: int) -> tuple[int, int]:
    raw = shift = 0
    for byte in data[place : place + 10]:
        raw |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            if raw >= 1 << 64:
                break
            return (raw >> 1) ^ -(raw & 1), place
        shift += 7
    raise Malformed("a number ends too early, or has more than 64 bits")


def _read_double(data: bytes, place: int) -> tuple[float, int]:
    if place + 8 > len(data):
        raise Malformed("it ends too early")
    (value,) = _DOUBLE.unpack_from(data, place)
    return value, place + 8


def _read_bool(data: bytes, place: int) -> tuple[bool, int]:
    byte = data[place : place + 1]
    if byte not in (b"\x00", b"\x01"):
        raise Malformed("it is neither 0 nor 1")
    return byte == b"\x01", place + 1


def _read_string(data: bytes, place: int) -> tuple[str, int]:
    size, place = _read_long(data, place)
    if not 0 <= size <= len(data) - place:
        raise Malformed(f"its length is said to be {size}, with {len(data) - place} bytes left")
    try:
        return data[place : place + size].decode(), place + size
    except UnicodeDecodeError:
        raise Malformed("it is not UTF-8") from None


def _long(value: int) -> bytes:
    raw = (value << 1) ^ (value >> 63)
    out = bytearray()
    while raw >= 0x80:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def _string(value: str) -> bytes:
    data = value.encode()
    return _long(len(data)) + data


_READERS: dict[Type, Reader] = {
    Type.INT64: _read_long,
    Type.FLOAT64: _read_double,
    Type.BOOL: _read_bool,
    Type.STRING: _read_string,
    Type.TIMESTAMP: _read_long,
}
_WRITERS: dict[Type, Callable[[Any], bytes]] = {
    Type.INT64: _long,
    Type.FLOAT64: _DOUBLE.pack,
    Type.BOOL: lambda value: b"\x01" if value else b"\x00",
    Type.STRING: _string,
    Type.TIMESTAMP: _long,
}
