"""Identity: a digest of canonical JSON (RFC 8785) with a kind tag."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fivefold.core.errors import Invalid

Json = Any
"""What JSON can hold: null, booleans, numbers, texts, lists, and objects with text keys."""

_EXACT = 2**53


def canonical(value: Json) -> bytes:
    """RFC 8785 (JSON Canonicalization Scheme) bytes of a JSON value.

    Integers beyond 2**53 have no exact form there: give them as strings. Raises Invalid for those, for NaN and for
    infinities.
    """
    return _write(value).encode()


def _write(value: Json) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise Invalid(f"cannot digest the text {value!r}: it holds a lone surrogate.") from None
            return json.dumps(value, ensure_ascii=False)
        case int():
            if abs(value) > _EXACT:
                raise Invalid(f"cannot digest the integer {value}: beyond 2**53 JSON numbers are not exact.")
            return str(value)
        case float():
            return _number(value)
        case Mapping():
            # RFC 8785 3.2.3: properties are sorted by their UTF-16 code units
            keys = sorted(value, key=lambda k: k.encode("utf-16-be"))
            return "{" + ",".join(_write(k) + ":" + _write(value[k]) for k in keys) + "}"
        case Sequence() if not isinstance(value, bytes | bytearray):
            return "[" + ",".join(map(_write, value)) + "]"
    raise Invalid(f"cannot digest a {type(value).__name__}: {value!r}.")


def _number(value: float) -> str:
    """ECMAScript's Number::toString (ECMA-262 6.1.6.1.20), which RFC 8785 prescribes."""
    if not math.isfinite(value):
        raise Invalid(f"cannot digest {value}: JSON has no such number.")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    digits = (whole + fraction).lstrip("0")
    # point: the decimal exponent n of ECMA-262, where value = 0.digits * 10**point
    point = len(whole) + int(exponent or 0) if whole != "0" else int(exponent or 0) - (len(fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    power = point - 1
    tail = ("e+" if power >= 0 else "e-") + str(abs(power))
    return sign + digits[0] + ("." + digits[1:] if count > 1 else "") + tail


def digest(kind: str, value: Json) -> str:
    """SHA-256, in hex, of the canonical JSON of `{"kind": kind, "value": value}`."""
    return hashlib.sha256(canonical({"kind": kind, "value": value})).hexdigest()


def short(full: str) -> str:
    """The first twelve characters of a digest: enough for people, never used as a key."""
    return full[:12]
