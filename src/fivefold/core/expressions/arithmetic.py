"""Arithmetic: every result that is not a finite float64 or not an int64 is null."""

from __future__ import annotations

from collections.abc import Sequence

from fivefold.core.errors import Invalid
from fivefold.core.expressions.tree import Literal, Node, Operation
from fivefold.core.types import Type

INT, FLOAT = Type.INT64, Type.FLOAT64

# fmod by infinity is the identity on finite numbers and NaN otherwise: a check that mentions its argument once
_FINITE = "mod({}, CAST('inf' AS DOUBLE))"


def _float(name: str, sql: str, python: str, arity: int = 1) -> Operation:
    """Finite whenever its arguments are."""
    return Operation(name, (FLOAT,) * arity, FLOAT, sql, python, nan_in=True)


def _checked(name: str, sql: str, python: str, arity: int = 2, zero: str = " + 0.0") -> Operation:
    """May overflow, and where it may underflow to a negative zero, + 0.0 makes that zero."""
    return Operation(
        name,
        (FLOAT,) * arity,
        FLOAT,
        f"({_FINITE.format(sql)}{zero and ' + 0e0'})",
        python + zero,
        check="finite",
        nan_in=True,
        nan_out=True,
    )


def _domain(name: str, condition_sql: str, condition: str, python: str | None = None) -> Operation:
    """Defined only where the condition holds, and finite there."""
    return Operation(
        name,
        (FLOAT,),
        FLOAT,
        f"CASE WHEN {condition_sql} THEN {name}({{0}}) END",
        f"{python or name}({{0}}) if {condition} else None",
        nan_in=True,
        partial=True,
    )


def _wide(name: str, sql: str, python: str, arity: int = 2, partial: bool = False) -> Operation:
    """Integer arithmetic in 128 bits, then narrowed: out of int64 is null."""
    return Operation(name, (INT,) * arity, INT, f"TRY_CAST({sql} AS BIGINT)", python, check="int64", partial=partial)


_DIVISOR = "CASE WHEN {1} <> 0 THEN {1} END"
_WIDE_0, _WIDE_1 = "CAST({0} AS HUGEINT)", f"CAST({_DIVISOR} AS HUGEINT)"
_UNEVEN = f"mod({_WIDE_0}, {_WIDE_1}) <> 0 AND ({{0}} < 0) <> ({{1}} < 0)"
_REST = f"mod({{0}}, {_DIVISOR})"

ARITHMETIC: dict[str, tuple[Operation, ...]] = {
    "+": (_wide("+", f"({_WIDE_0} + {{1}})", "{0} + {1}"), _checked("+", "({0} + {1})", "{0} + {1}", zero="")),
    "-": (_wide("-", f"({_WIDE_0} - {{1}})", "{0} - {1}"), _checked("-", "({0} - {1})", "{0} - {1}", zero="")),
    "*": (_wide("*", f"({_WIDE_0} * {{1}})", "{0} * {1}"), _checked("*", "({0} * {1})", "{0} * {1}")),
    "/": (
        Operation(
            "/",
            (FLOAT, FLOAT),
            FLOAT,
            f"({_FINITE.format(f'({{0}} / {_DIVISOR})')} + 0e0)",
            "{0} / {1} + 0.0 if {1} != 0.0 else INFINITY",
            check="finite",
            nan_in=True,
            nan_out=True,
        ),
    ),
    "//": (
        _wide(
            "//", f"({_WIDE_0} // {_WIDE_1} - CASE WHEN {_UNEVEN} THEN 1 ELSE 0 END)", "{0} // {1} if {1} else TOO_BIG"
        ),
        Operation(
            "//",
            (FLOAT, FLOAT),
            FLOAT,
            f"({_FINITE.format(f'floor({{0}} / {_DIVISOR})')} + 0e0)",
            "floor_divide({0}, {1})",
            partial=True,
            nan_in=True,
            nan_out=True,
        ),
    ),
    "%": (
        Operation(
            "%",
            (INT, INT),
            INT,
            f"CAST(mod(mod({_WIDE_0}, {_WIDE_1}) + {{1}}, {_WIDE_1}) AS BIGINT)",
            "{0} % {1} if {1} else None",
            partial=True,
        ),
        Operation(
            "%",
            (FLOAT, FLOAT),
            FLOAT,
            f"(CASE WHEN {_REST} <> 0 AND ({_REST} < 0) <> ({{1}} < 0) THEN {_REST} + {{1}} ELSE {_REST} END + 0e0)",
            "{0} % {1} + 0.0 if {1} != 0.0 else None",
            partial=True,
        ),
    ),
    "negate": (_wide("negate", f"(-{_WIDE_0})", "-{0}", 1), _float("negate", "(0e0 - {0})", "0.0 - {0}")),
}

NUMBERS: dict[str, tuple[Operation, ...]] = {
    "abs": (_wide("abs", f"abs({_WIDE_0})", "abs({0})", 1), _float("abs", "abs({0})", "abs({0})")),
    "sign": tuple(
        Operation("sign", (t,), INT, "CAST(sign({0}) AS BIGINT)", "({0} > 0) - ({0} < 0)") for t in (INT, FLOAT)
    ),
    "floor": (Operation("floor", (INT,), INT, "{0}", "{0}"), _float("floor", "floor({0})", "float(floor({0}))")),
    "ceil": (Operation("ceil", (INT,), INT, "{0}", "{0}"), _float("ceil", "(ceil({0}) + 0e0)", "float(ceil({0}))")),
    "trunc": (
        Operation("trunc", (INT,), INT, "{0}", "{0}"),
        _float("trunc", "(trunc({0}) + 0e0)", "float(trunc({0}))"),
    ),
    "sqrt": (_domain("sqrt", "{0} >= 0", "{0} >= 0.0"),),
    "cbrt": (_float("cbrt", "cbrt({0})", "cbrt({0})"),),
    "exp": (_checked("exp", "exp({0})", "exp({0} if {0} <= 709.782712893384 else INFINITY)", 1),),
    "ln": (_domain("ln", "{0} > 0", "{0} > 0.0", "log"),),
    "log2": (_domain("log2", "{0} > 0", "{0} > 0.0"),),
    "log10": (_domain("log10", "{0} > 0", "{0} > 0.0"),),
    "pow": (
        Operation(
            "pow",
            (FLOAT, FLOAT),
            FLOAT,
            f"({_FINITE.format('TRY(pow({0}, {1}))')} + 0e0)",
            "power({0}, {1})",
            partial=True,
            nan_out=True,
        ),
    ),
    "sin": (_float("sin", "sin({0})", "sin({0})"),),
    "cos": (_float("cos", "cos({0})", "cos({0})"),),
    "tan": (_float("tan", "tan({0})", "tan({0})"),),
    "asin": (_domain("asin", "{0} BETWEEN -1 AND 1", "-1.0 <= {0} <= 1.0"),),
    "acos": (_domain("acos", "{0} BETWEEN -1 AND 1", "-1.0 <= {0} <= 1.0"),),
    "atan": (_float("atan", "atan({0})", "atan({0})"),),
    "atan2": (_checked("atan2", "atan2({0}, {1})", "atan2({0}, {1})"),),
    "tanh": (_float("tanh", "tanh({0})", "tanh({0})"),),
    "radians": (_checked("radians", "radians({0})", "radians({0})", 1),),
    "degrees": (_checked("degrees", "degrees({0})", "degrees({0})", 1),),
    "pi": (Operation("pi", (), FLOAT, "pi()", "3.141592653589793", never_null=True),),
}

_WHOLE = (Operation("round", (INT,), INT, "{0}", "{0}"), _float("round", "(round({0}) + 0e0)", "round_away({0})"))
_PLACES = 15


def rounds(arguments: Sequence[Node]) -> tuple[tuple[Operation, ...], Sequence[Node]]:
    """`round(x)` and `round(x, places)`: halves go away from zero.

    The places are a literal from -15 to 15; x * 10^places is rounded and divided again, both in float64.
    """
    if len(arguments) != 2:
        return _WHOLE, arguments
    places = arguments[1]
    if (
        not isinstance(places, Literal)
        or places.type is not INT
        or not isinstance(places.value, int)
        or abs(places.value) > _PLACES
    ):
        raise Invalid(
            f"round takes its places as a whole number from -{_PLACES} to {_PLACES}, written out.",
            hint="Write for instance round(x, 2).",
        )
    count = places.value
    scale = repr(10.0 ** abs(count))
    spelled = f"{scale}e0"
    if count >= 0:
        # beyond 2^52 every float64 is whole
        sql = (
            f"(CASE WHEN abs({{0}}) < 4503599627370496e0 THEN round({{0}} * {spelled}) / {spelled} ELSE {{0}} END "
            "+ 0e0)"
        )
        python = f"round_away({{0}} * {scale}) / {scale} + 0.0 if abs({{0}}) < 4503599627370496.0 else {{0}}"
        rounded = Operation("round", (FLOAT,), FLOAT, sql, python, nan_in=True, static=(count,))
        whole = (Operation("round", (INT,), INT, "{0}", "{0}", static=(count,)),)
        return (*whole, rounded), arguments[:1]
    sql = f"({_FINITE.format(f'(round({{0}} / {spelled}) * {spelled})')} + 0e0)"
    python = f"round_away({{0}} / {scale}) * {scale} + 0.0"
    return (
        Operation("round", (FLOAT,), FLOAT, sql, python, check="finite", nan_in=True, nan_out=True, static=(count,)),
    ), arguments[:1]
