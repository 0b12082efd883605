"""cast(x as type): what cannot be converted is null."""

from __future__ import annotations

from fivefold.core.errors import Invalid
from fivefold.core.expressions.tree import Operation
from fivefold.core.types import Type

INT, FLOAT, BOOL, TEXT, TIME = Type.INT64, Type.FLOAT64, Type.BOOL, Type.STRING, Type.TIMESTAMP

# the same grammar as INTEGER and NUMBER in rowcalls.py
_INTEGER = "'[+-]?[0-9]+'"
_NUMBER = r"'[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?'"


def _cast(
    source: Type,
    target: Type,
    sql: str,
    python: str,
    partial: bool = False,
    nan_in: bool = False,
    nan_out: bool = False,
) -> Operation:
    return Operation("cast", (source,), target, sql, python, partial=partial, nan_in=nan_in, nan_out=nan_out)


CASTS: dict[tuple[Type, Type], Operation] = {
    **{(t, t): _cast(t, t, "{0}", "{0}", nan_in=True) for t in Type},
    (INT, FLOAT): _cast(INT, FLOAT, "CAST({0} AS DOUBLE)", "float({0})"),
    (INT, BOOL): _cast(INT, BOOL, "({0} <> 0)", "{0} != 0"),
    (INT, TEXT): _cast(INT, TEXT, "CAST({0} AS VARCHAR)", "str({0})"),
    (FLOAT, INT): Operation(
        "cast", (FLOAT,), INT, "TRY_CAST(round({0}) AS BIGINT)", "int(round_away({0}))", check="int64", nan_in=True
    ),
    (FLOAT, BOOL): _cast(FLOAT, BOOL, "({0} <> 0)", "{0} != 0.0"),
    (FLOAT, TEXT): _cast(FLOAT, TEXT, "CAST({0} AS VARCHAR)", "repr({0})"),
    (BOOL, INT): _cast(BOOL, INT, "CAST({0} AS BIGINT)", "int({0})"),
    (BOOL, FLOAT): _cast(BOOL, FLOAT, "CAST({0} AS DOUBLE)", "float({0})"),
    (BOOL, TEXT): _cast(
        BOOL, TEXT, "CASE WHEN {0} THEN 'true' WHEN NOT {0} THEN 'false' END", "'true' if {0} else 'false'"
    ),
    (TEXT, INT): _cast(
        TEXT,
        INT,
        f"CASE WHEN regexp_full_match({{0}}, {_INTEGER}) THEN TRY_CAST({{0}} AS BIGINT) END",
        "read_int({0})",
        partial=True,
    ),
    (TEXT, FLOAT): _cast(
        TEXT,
        FLOAT,
        f"(mod(CASE WHEN regexp_full_match({{0}}, {_NUMBER}) THEN TRY_CAST({{0}} AS "
        "DOUBLE) END, CAST('inf' AS DOUBLE)) + 0e0)",
        "read_float({0})",
        partial=True,
        nan_out=True,
    ),
    (TEXT, BOOL): _cast(
        TEXT,
        BOOL,
        "CASE WHEN {0} = 'true' THEN true WHEN {0} = 'false' THEN false END",
        "True if {0} == 'true' else False if {0} == 'false' else None",
        partial=True,
    ),
}

_INSTEAD = {
    (TEXT, TIME): "Times are read at ingestion; a constant is written timestamp '2013-11-01T06:30:00Z'.",
    (INT, TIME): "make_timestamp(x) takes microseconds since 1970 UTC.",
    (FLOAT, TIME): "make_timestamp(cast(x * 1000000 as int64)) takes seconds since 1970 UTC.",
    (TIME, INT): "epoch_us(t) gives microseconds since 1970 UTC.",
    (TIME, FLOAT): "epoch(t) gives seconds since 1970 UTC.",
}


def cast(source: Type, target: Type) -> Operation:
    """The operation that converts one type to another.

    Raises Invalid, with what to write instead, where there is none.
    """
    try:
        return CASTS[source, target]
    except KeyError:
        raise Invalid(f"cannot cast {source} to {target}.", hint=_INSTEAD.get((source, target), "")) from None
