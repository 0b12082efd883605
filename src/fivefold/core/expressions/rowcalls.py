"""The small functions that generated row functions call, beside Python's `math`. None is null."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fivefold.core.expressions.patterns import like_pattern
from fivefold.core.expressions.regexp import regexp_pattern

INFINITY = math.inf
TOO_BIG = 2**63
INTEGER = re.compile(r"([+-]?)([0-9]+)", re.ASCII)
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)

_UPPER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_LOWER = {c + 32: c for c in _UPPER}
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
_DAY = 86_400_000_000


def round_away(x: float) -> float:
    """The nearest whole number; halves go away from zero."""
    fraction, whole = math.modf(x)
    if fraction >= 0.5:
        return whole + 1.0
    if fraction <= -0.5:
        return whole - 1.0
    return whole + 0.0


def floor_divide(a: float, b: float) -> float | None:
    """The floor of the float64 quotient a / b."""
    quotient = a / b if b != 0.0 else INFINITY
    return float(math.floor(quotient)) if math.isfinite(quotient) else None


def power(a: float, b: float) -> float | None:
    try:
        result = math.pow(a, b)
    except (OverflowError, ValueError):
        return None
    return result + 0.0


def between(x: Any, low: Any, high: Any) -> bool | None:
    """x >= low and x <= high, in three-valued logic."""
    above = None if x is None or low is None else x >= low
    below = None if x is None or high is None else x <= high
    if above is False or below is False:
        return False
    return None if above is None or below is None else True


def first(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    return None


def greatest(*values: Any) -> Any:
    return max((v for v in values if v is not None), default=None)


def least(*values: Any) -> Any:
    return min((v for v in values if v is not None), default=None)


def lower(s: str) -> str:
    """ASCII letters in lower case, all else unchanged."""
    return s.lower() if s.isascii() else s.translate(_UPPER)


def upper(s: str) -> str:
    """ASCII letters in upper case, all else unchanged."""
    return s.upper() if s.isascii() else s.translate(_LOWER)


def substring(s: str, start: int, count: int) -> str:
    """The code points at positions start … start + count - 1 that exist, counted from 1."""
    return s[max(start - 1, 0) : max(start - 1 + count, 0)]


def concat(*parts: str | None) -> str:
    return "".join([p for p in parts if p is not None])


def read_int(s: str) -> int | None:
    """The int64 that the text spells in decimal digits, with a sign at most."""
    found = INTEGER.fullmatch(s)
    digits = found[2].lstrip("0") if found else ""
    if not found or len(digits) > 19:
        return None
    value = int(digits or "0")
    value = -value if found[1] == "-" else value
    return value if -TOO_BIG <= value < TOO_BIG else None


def read_float(s: str) -> float | None:
    """The float64 nearest to the number that the text spells."""
    if not NUMBER.fullmatch(s):
        return None
    value = float(s)
    return value + 0.0 if math.isfinite(value) else None


def date_of(micros: int) -> datetime.date:
    return datetime.date.fromordinal(micros // _DAY + _EPOCH_DAY)


def midnight(date: datetime.date) -> int:
    """Microseconds since 1970 of the start of a day."""
    return (date.toordinal() - _EPOCH_DAY) * _DAY


def day_of_year(date: datetime.date) -> int:
    return date.toordinal() - date.replace(month=1, day=1).toordinal() + 1


def quarter_start(date: datetime.date) -> datetime.date:
    return date.replace(month=(date.month - 1) // 3 * 3 + 1, day=1)


def like(pattern: str, escape: str | None, fold: bool) -> Callable[[str], re.Match[str] | None]:
    """What matches a whole text against a LIKE pattern; with `fold` in lower case."""
    match = re.compile(like_pattern(pattern, escape, fold), re.DOTALL).fullmatch
    return (lambda s: match(lower(s))) if fold else match


def regexp(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """What searches a text for a regular expression of the common subset."""
    return re.compile(regexp_pattern(pattern), re.ASCII).search


_MATH = (
    "isfinite",
    "floor",
    "ceil",
    "trunc",
    "sqrt",
    "cbrt",
    "exp",
    "log",
    "log2",
    "log10",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "tanh",
    "radians",
    "degrees",
)
_PYTHON = {"abs": abs, "float": float, "frozenset": frozenset, "int": int, "len": len, "repr": repr, "str": str}

NAMES: Mapping[str, object] = MappingProxyType(
    {
        **_PYTHON,
        **{n: getattr(math, n) for n in _MATH},
        "INFINITY": INFINITY,
        "TOO_BIG": TOO_BIG,
        **{
            f.__name__: f
            for f in (
                round_away,
                floor_divide,
                power,
                between,
                first,
                greatest,
                least,
                lower,
                upper,
                substring,
                concat,
                read_int,
                read_float,
                date_of,
                midnight,
                day_of_year,
                quarter_start,
                like,
                regexp,
            )
        },
    }
)
"""Everything a generated row function can name."""
