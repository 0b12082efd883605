"""The fields of a request: every one of them is there, of its type, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid, did_you_mean
from fivefold.core.time import instant
from fivefold.core.types import Type

_SAID = {
    Type.INT64: "a whole number of 64 bits",
    Type.FLOAT64: "a number",
    Type.BOOL: "true or false",
    Type.STRING: "a text",
    Type.TIMESTAMP: "a time (ISO 8601, or microseconds since 1970 UTC)",
}
_LONGEST_SHOWN = 80


def accepted(row: object, fields: Mapping[str, Type]) -> dict[str, Any]:
    """A row's values by field, as features see them: whole numbers become floats where floats are, -0.0 becomes 0.0,
    times microseconds. Null is accepted for every field.

    Raises Invalid for a row that is no object, and for a field that is missing, unknown or of another type.
    """
    if not isinstance(row, dict):
        raise Invalid(f"a row is an object, not {shown(row)}.", hint=f"Send the fields {', '.join(fields)}.")
    out = {}
    for name, kind in fields.items():
        try:
            value = row[name]
        except KeyError:
            raise Invalid(f"the field {name!r} is missing.", hint=f"Send all of: {', '.join(fields)}.") from None
        out[name] = None if value is None else _READERS[kind](name, value)
    if len(row) > len(fields):
        unknown = next(n for n in row if n not in fields)
        near = did_you_mean(unknown, fields) if len(unknown) <= _LONGEST_SHOWN else ""
        raise Invalid(f"there is no field {shown(unknown)} (accepted: {', '.join(fields)}).", hint=near)
    return out


def shown(value: object) -> str:
    """A value for a message, cut short."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _wrong(name: str, value: object, kind: Type) -> Invalid:
    return Invalid(f"the field {name!r} is {shown(value)}, which is not {kind}.", hint=f"Send {_SAID[kind]}, or null.")


def _int(name: str, value: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise _wrong(name, value, Type.INT64)


def _float(name: str, value: object) -> float:
    if type(value) is float:
        return value + 0.0
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    raise _wrong(name, value, Type.FLOAT64)


def _bool(name: str, value: object) -> bool:
    if type(value) is bool:
        return value
    raise _wrong(name, value, Type.BOOL)


def _string(name: str, value: object) -> str:
    if type(value) is str:
        return value
    raise _wrong(name, value, Type.STRING)


def _timestamp(name: str, value: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if type(value) is str:
        try:
            return instant(value)
        except (FivefoldError, OverflowError):
            pass
    raise _wrong(name, value, Type.TIMESTAMP)


_READERS = {
    Type.INT64: _int,
    Type.FLOAT64: _float,
    Type.BOOL: _bool,
    Type.STRING: _string,
    Type.TIMESTAMP: _timestamp,
}
