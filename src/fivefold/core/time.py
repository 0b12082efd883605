"""Time is int64 microseconds UTC; durations are written `90s`, `1h`, `7d`."""

from __future__ import annotations

import datetime
import re

from fivefold.core.errors import Invalid

MICROSECOND = 1
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

_UNITS = {"us": MICROSECOND, "ms": 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def duration(text: str, where: str = "duration") -> int:
    """Microseconds in `"1h30m"`, `"7d"`, `"20ms"`.

    Raises Invalid, naming `where`, when the text is not a positive duration.

    >>> duration("1h30m") == 90 * MINUTE
    True
    """
    compact = text.strip().lower() if isinstance(text, str) else ""
    parts = _DURATION.findall(compact)
    if not parts or "".join(n + u for n, u in parts) != compact.replace(" ", ""):
        raise Invalid(
            f"{where}: {text!r} is not a duration.", hint="Write a number and a unit: 20ms, 90s, 30m, 6h, 7d, 2w."
        )
    micros = sum(float(n) * _UNITS[u] for n, u in parts)
    if micros < 1 or micros != int(micros):
        raise Invalid(
            f"{where}: {text!r} is not a whole, positive number of microseconds.", hint="Write for instance 1s."
        )
    return int(micros)


def spell(micros: int) -> str:
    """The shortest duration text for a number of microseconds: `spell(3_600_000_000) == "1h"`."""
    if micros == 0:
        return "0s"
    out = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, micros = divmod(micros, _UNITS[unit])
        if count:
            out.append(f"{count}{unit}")
    return "".join(out)


def instant(text: str, where: str = "time") -> int:
    """Microseconds since 1970 UTC of an ISO 8601 date or time; without a zone it is read as UTC.

    Raises Invalid, naming `where`, when the text is neither.
    """
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError):
        raise Invalid(
            f"{where}: {text!r} is not a date or time.",
            hint="Write ISO 8601, for instance 2013-11-01 or 2013-11-01T06:30:00Z.",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return to_micros(moment)


def to_micros(moment: datetime.datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime, exactly (no float in between)."""
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1)


def iso(micros: int) -> str:
    """ISO 8601 in UTC with a Z; fractions only when there are any."""
    return (_EPOCH + datetime.timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def moment(micros: int) -> str:
    """ISO 8601 of a moment, also of one beyond the years that ISO 8601 has: then the microseconds."""
    try:
        return iso(micros)
    except OverflowError:
        return f"{micros}us"
