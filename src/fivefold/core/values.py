"""Values that came from outside, as the platform holds them: each of its column's type, or refused."""

from __future__ import annotations

from typing import Any

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.time import instant
from fivefold.core.types import Type

LONGEST_SHOWN = 80

_SAID = {
    Type.INT64: "a whole number of 64 bits",
    Type.FLOAT64: "a number",
    Type.BOOL: "true or false",
    Type.STRING: "a text",
    Type.TIMESTAMP: "a time (ISO 8601, or microseconds since 1970 UTC)",
}


def typed(name: str, value: object, kind: Type) -> Any:
    """A value that is not null: whole numbers become floats where floats are, -0.0 becomes 0.0, times microseconds.

    Raises Invalid, naming the field, the value and what is accepted, for a value of another type.
    """
    return _READERS[kind](name, value)


def shown(value: object) -> str:
    """A value for a message, cut short."""
    try:
        text = repr(value)
    except ValueError:
        # Python writes no whole number of more than 4,300 digits
        text = f"{type(value).__name__} with a number too long to write"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


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
