"""Numbers of a declaration, checked where it is made."""

from __future__ import annotations

import math
import re

from fivefold.core.errors import Invalid

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def real(where: str, name: str, value: object, *, above: float | None = None, least: float = 0.0,
         most: float = math.inf) -> float:  # fmt: skip
    """A number of `[least, most]`, or greater than `above`. Raises Invalid, naming `where` and the field."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if good:
        assert isinstance(value, int | float)
        good = (value > above if above is not None else value >= least) and value <= most
    if not good:
        low = f"above {above:g}" if above is not None else f"at least {least:g}"
        high = "" if most == math.inf else f", at most {most:g}"
        raise Invalid(f"{where}: {name}={value!r} (accepted: a number {low}{high}).")
    assert isinstance(value, int | float)
    return float(value)


def whole(where: str, name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """A whole number of `[least, most]`. Raises Invalid, naming `where` and the field."""
    if type(value) is not int or value < least or (most is not None and value > most):
        high = "" if most is None else f", at most {most}"
        raise Invalid(f"{where}: {name}={value!r} (accepted: a whole number, at least {least}{high}).")
    return value


def size(text: object, where: str) -> int:
    """Bytes in `"2MB"`, `"512KiB"`.

    Raises Invalid, naming `where`, for anything else.

    >>> size("2MB", "budget")
    2000000
    """
    found = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None or found[2] not in _UNITS or float(found[1]) <= 0:
        raise Invalid(
            f"{where}: {text!r} is not a size.", hint=f"Write a number and a unit: 2MB, 512KiB ({', '.join(_UNITS)})."
        )
    return int(float(found[1]) * _UNITS[found[2]])
