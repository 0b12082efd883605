"""Timestamps: int64 microseconds UTC, years 1 to 9999, on the proleptic Gregorian calendar."""

from __future__ import annotations

from collections.abc import Sequence

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.expressions.conditions import Choice
from fivefold.core.expressions.tree import Literal, Node, Operation
from fivefold.core.types import Type

TIME, INT, FLOAT = Type.TIMESTAMP, Type.INT64, Type.FLOAT64
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
_DAY = 86_400_000_000


def _part(name: str, python: str, sql: str = "") -> tuple[Operation, ...]:
    return (Operation(name, (TIME,), INT, f"CAST({sql or name}({{0}}) AS BIGINT)", python),)


MOMENTS: dict[str, tuple[Operation, ...]] = {
    "second": _part("second", "{0} // 1000000 % 60"),
    "minute": _part("minute", "{0} // 60000000 % 60"),
    "hour": _part("hour", "{0} // 3600000000 % 24"),
    "dayofweek": _part("dayofweek", f"({{0}} // {_DAY} + 4) % 7"),
    "isodow": _part("isodow", f"({{0}} // {_DAY} + 3) % 7 + 1"),
    "day": _part("day", "date_of({0}).day"),
    "month": _part("month", "date_of({0}).month"),
    "quarter": _part("quarter", "(date_of({0}).month + 2) // 3"),
    "year": _part("year", "date_of({0}).year"),
    "dayofyear": _part("dayofyear", "day_of_year(date_of({0}))"),
    "epoch": (Operation("epoch", (TIME,), FLOAT, "(CAST(epoch_us({0}) AS DOUBLE) / 1e6)", "{0} / 1000000.0"),),
    "epoch_us": (Operation("epoch_us", (TIME,), INT, "epoch_us({0})", "{0}"),),
    "make_timestamp": (
        Operation(
            "make_timestamp",
            (INT,),
            TIME,
            f"make_timestamp(CASE WHEN {{0}} BETWEEN {FIRST} AND {LAST} THEN {{0}} END)",
            f"{{0}} if {FIRST} <= {{0}} <= {LAST} else None",
            partial=True,
        ),
    ),
    "seconds_between": (
        Operation(
            "seconds_between",
            (TIME, TIME),
            FLOAT,
            "(CAST(epoch_us({1}) - epoch_us({0}) AS DOUBLE) / 1e6)",
            "({1} - {0}) / 1000000.0",
        ),
    ),
}

_MONDAY = 4 * _DAY
_TRUNC = {
    "second": "{0} - {0} % 1000000",
    "minute": "{0} - {0} % 60000000",
    "hour": "{0} - {0} % 3600000000",
    "day": f"{{0}} - {{0}} % {_DAY}",
    "week": f"{{0}} - ({{0}} - {_MONDAY}) % {7 * _DAY}",
    "month": "midnight(date_of({0}).replace(day=1))",
    "quarter": "midnight(quarter_start(date_of({0})))",
    "year": "midnight(date_of({0}).replace(month=1, day=1))",
}


def date_trunc(arguments: Sequence[Node]) -> Choice:
    """The start of the unit that holds the time; a week starts on Monday."""
    unit = arguments[0] if arguments else None
    if len(arguments) != 2 or not isinstance(unit, Literal) or not isinstance(unit.value, str):
        raise Invalid(
            "date_trunc takes a unit, written as a text literal, and a timestamp.",
            hint="Write for instance date_trunc('hour', t).",
        )
    name = unit.value.lower()
    if name not in _TRUNC:
        raise Invalid(
            f"date_trunc has no unit {unit.value!r} (have: {', '.join(_TRUNC)}).", hint=did_you_mean(name, _TRUNC)
        )
    return (
        Operation(
            "date_trunc", (TIME,), TIME, "CAST(date_trunc({s0}, {0}) AS TIMESTAMP)", _TRUNC[name], static=(name,)
        ),
    ), arguments[1:]
