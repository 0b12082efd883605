"""Text: counted in Unicode code points, ordered by them, and cased in ASCII only."""

from __future__ import annotations

from collections.abc import Sequence

from fivefold.core.errors import Invalid
from fivefold.core.expressions.conditions import Choice
from fivefold.core.expressions.patterns import like_pattern
from fivefold.core.expressions.regexp import regexp_pattern
from fivefold.core.expressions.tree import Literal, Node, Operation
from fivefold.core.types import Type

TEXT, INT, BOOL = Type.STRING, Type.INT64, Type.BOOL

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_LOWERED = f"translate({{0}}, '{_UPPER}', '{_LOWER}')"


def _near(slot: str) -> str:
    """DuckDB refuses counts beyond 32 bits; no text is that long."""
    return f"CASE WHEN {slot} > 2147483647 THEN 2147483647 WHEN {slot} < -2147483647 THEN -2147483647 ELSE {slot} END"


def _text(name: str, arity: int, gives: Type, sql: str, python: str) -> Operation:
    return Operation(name, (TEXT,) * arity, gives, sql, python)


def _trimmed(name: str, python: str) -> tuple[Operation, ...]:
    return (
        _text(name, 1, TEXT, f"{name}({{0}}, ' ')", f"{{0}}.{python}(' ')"),
        _text(name, 2, TEXT, f"{name}({{0}}, {{1}})", f"{{0}}.{python}({{1}})"),
    )


_START = _near("{1}")
_COUNT = (
    "CAST(greatest(least(CASE WHEN {1} < 1 THEN CAST({1} AS HUGEINT) - 1 ELSE 0 END + {2}, 2147483647), 0) AS BIGINT)"
)
_FROM = f"CASE WHEN {{1}} < 1 THEN 1 ELSE {_START} END"

TEXTS: dict[str, tuple[Operation, ...]] = {
    "lower": (_text("lower", 1, TEXT, _LOWERED, "lower({0})"),),
    "upper": (_text("upper", 1, TEXT, f"translate({{0}}, '{_LOWER}', '{_UPPER}')", "upper({0})"),),
    "length": (_text("length", 1, INT, "length({0})", "len({0})"),),
    "trim": _trimmed("trim", "strip"),
    "ltrim": _trimmed("ltrim", "lstrip"),
    "rtrim": _trimmed("rtrim", "rstrip"),
    "left": (Operation("left", (TEXT, INT), TEXT, f"left({{0}}, {_START})", "{0}[:{1}]"),),
    "right": (Operation("right", (TEXT, INT), TEXT, f"right({{0}}, {_START})", "{0}[-{1}:] if {1} else ''"),),
    "substring": (
        Operation(
            "substring", (TEXT, INT), TEXT, f"substring({{0}}, {_FROM})", "substring({0}, {1}, len({0}) - {1} + 1)"
        ),
        Operation(
            "substring",
            (TEXT, INT, INT),
            TEXT,
            f"CASE WHEN {{1}} IS NOT NULL AND {{2}} IS NOT NULL THEN substring({{0}}, {_FROM}, {_COUNT}) END",
            "substring({0}, {1}, {2})",
        ),
    ),
    "replace": (_text("replace", 3, TEXT, "replace({0}, {1}, {2})", "{0}.replace({1}, {2}) if {1} else {0}"),),
    "starts_with": (_text("starts_with", 2, BOOL, "starts_with({0}, {1})", "{0}.startswith({1})"),),
    "ends_with": (_text("ends_with", 2, BOOL, "ends_with({0}, {1})", "{0}.endswith({1})"),),
    "contains": (_text("contains", 2, BOOL, "contains({0}, {1})", "{1} in {0}"),),
    "strpos": (_text("strpos", 2, INT, "strpos({0}, {1})", "{0}.find({1}) + 1"),),
}


def joined(arguments: Sequence[Node]) -> Choice:
    """`||`: null when any part is."""
    count = len(arguments)
    return (
        Operation(
            "||",
            (TEXT,) * count,
            TEXT,
            f"({' || '.join(f'{{{i}}}' for i in range(count))})",
            " + ".join(f"{{{i}}}" for i in range(count)),
        ),
    ), arguments


def concat(arguments: Sequence[Node]) -> Choice:
    """`concat`: nulls count as empty text."""
    count = len(arguments)
    if not count:
        raise Invalid("concat takes at least one argument.")
    slots = ", ".join(f"{{{i}}}" for i in range(count))
    return (
        Operation(
            "concat", (TEXT,) * count, TEXT, f"concat({slots})", f"concat({slots})", strict=False, never_null=True
        ),
    ), arguments


def like(name: str, subject: Node, pattern: Node, escape: Node | None) -> Choice:
    """`like` and `ilike` with a literal pattern; `ilike` ignores the case of ASCII letters."""
    if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
        raise Invalid(f"{name} takes its pattern as a text literal.", hint="For other texts there is contains(a, b).")
    sign = escape.value if isinstance(escape, Literal) else None
    if escape is not None and not isinstance(sign, str):
        raise Invalid(f"{name} takes its escape as a text literal of one character.")
    escaped = str(sign) if sign is not None else None
    like_pattern(pattern.value, escaped, False)  # refused here rather than in the row function
    tail = " ESCAPE {s1}" if escaped is not None else ""
    folded = name == "ilike"
    sql = f"({_LOWERED} LIKE {_LOWERED.replace('{0}', '{s0}')}{tail})" if folded else f"({{0}} LIKE {{s0}}{tail})"
    return (
        Operation(
            name,
            (TEXT,),
            BOOL,
            sql,
            "{k}({0}) is not None",
            static=(pattern.value, escaped),
            setup=f"like({{s0}}, {{s1}}, {folded})",
        ),
    ), [subject]


def regexp_matches(arguments: Sequence[Node]) -> Choice:
    """Whether a literal regular expression matches somewhere in the text."""
    if len(arguments) != 2 or not isinstance(arguments[1], Literal) or not isinstance(arguments[1].value, str):
        raise Invalid("regexp_matches takes a text and a pattern written as a text literal.")
    pattern = arguments[1].value
    regexp_pattern(pattern)
    return (
        Operation(
            "regexp_matches",
            (TEXT,),
            BOOL,
            "regexp_matches({0}, {s0})",
            "{k}({0}) is not None",
            static=(pattern,),
            setup="regexp({s0})",
        ),
    ), arguments[:1]
