"""Comparisons, three-valued logic and choices between values."""

from __future__ import annotations

from collections.abc import Sequence

from fivefold.core.errors import Invalid
from fivefold.core.expressions.choose import common, fit
from fivefold.core.expressions.tree import Case, Literal, Node, Operation, Value
from fivefold.core.types import Type

BOOL = Type.BOOL
Choice = tuple[tuple[Operation, ...], Sequence[Node]]


def _compared(symbol: str, python: str) -> tuple[Operation, ...]:
    return tuple(Operation(symbol, (t, t), BOOL, f"({{0}} {symbol} {{1}})", f"{{0}} {python} {{1}}") for t in Type)


COMPARISONS: dict[str, tuple[Operation, ...]] = {
    **{s: _compared(s, p) for s, p in {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}.items()},
    "is distinct from": tuple(
        Operation(
            "is distinct from", (t, t), BOOL, "({0} IS DISTINCT FROM {1})", "{0} != {1}", strict=False, never_null=True
        )
        for t in Type
    ),
    "is null": tuple(
        Operation("is null", (t,), BOOL, "({0} IS NULL)", "{0} is None", strict=False, never_null=True) for t in Type
    ),
    "is true": (Operation("is true", (BOOL,), BOOL, "({0} IS TRUE)", "{0} is True", strict=False, never_null=True),),
    "is false": (
        Operation("is false", (BOOL,), BOOL, "({0} IS FALSE)", "{0} is False", strict=False, never_null=True),
    ),
    "between": tuple(
        Operation("between", (t, t, t), BOOL, "({0} BETWEEN {1} AND {2})", "between({0}, {1}, {2})", strict=False)
        for t in Type
    ),
    "not": (Operation("not", (BOOL,), BOOL, "(NOT {0})", "not {0}"),),
}

_MOST = 500


def _slots(count: int, separator: str, form: str = "{}") -> str:
    return separator.join(form.format(f"{{{i}}}") for i in range(count))


def conjunction(arguments: Sequence[Node]) -> Choice:
    """`and`: false if any is false, else null if any is null, else true."""
    return _connected("and", "False", "True", arguments)


def disjunction(arguments: Sequence[Node]) -> Choice:
    """`or`: true if any is true, else null if any is null, else false."""
    return _connected("or", "True", "False", arguments)


def _connected(name: str, decides: str, otherwise: str, arguments: Sequence[Node]) -> Choice:
    count = len(arguments)
    python = (
        f"{decides} if {_slots(count, ' or ', '{} is ' + decides)} else "
        f"None if {_slots(count, ' or ', '{} is None')} else {otherwise}"
    )
    sql = f"({_slots(count, f' {name.upper()} ')})"
    return (Operation(name, (BOOL,) * count, BOOL, sql, python, strict=False),), arguments


def _chosen(name: str, sql: str, python: str, arguments: Sequence[Node]) -> Choice:
    if not 1 <= len(arguments) <= _MOST:
        raise Invalid(f"{name} takes 1 to {_MOST} arguments, not {len(arguments)}.")
    fitted, kind = common(name, arguments)
    takes = kind or Type.INT64
    return (
        Operation(
            name,
            (takes,) * len(fitted),
            takes,
            f"{sql}({_slots(len(fitted), ', ')})",
            f"{python}({_slots(len(fitted), ', ')})",
            strict=False,
        ),
    ), fitted


def coalesce(arguments: Sequence[Node]) -> Choice:
    """The first that is not null."""
    return _chosen("coalesce", "coalesce", "first", arguments)


def greatest(arguments: Sequence[Node]) -> Choice:
    """The greatest that is not null."""
    return _chosen("greatest", "greatest", "greatest", arguments)


def least(arguments: Sequence[Node]) -> Choice:
    """The least that is not null."""
    return _chosen("least", "least", "least", arguments)


def nullif(arguments: Sequence[Node]) -> Choice:
    """Null where both are equal, else the first."""
    if len(arguments) != 2:
        raise Invalid(f"nullif takes 2 arguments, not {len(arguments)}.")
    fitted, kind = common("nullif", arguments)
    takes = kind or Type.INT64
    return (
        Operation(
            "nullif",
            (takes, takes),
            takes,
            "CASE WHEN {0} = {1} THEN NULL ELSE {0} END",
            "None if {0} == {1} else {0}",
            strict=False,
        ),
    ), fitted


def membership(subject: Node, listed: Sequence[Node]) -> Choice:
    """`in` a list of literals: their type and the subject's are brought together first."""
    values: list[Value] = []
    for item in listed:
        if not isinstance(item, Literal) or item.value is None:
            raise Invalid(
                "in takes a list of literals that are not null.",
                hint="Write or-ed comparisons for other values, and is null for nulls.",
            )
    if not listed:
        raise Invalid("in takes at least one literal.")
    (fitted, *_), kind = common("in", [subject, *listed])
    takes = kind or Type.INT64
    for item in listed:
        assert isinstance(item, Literal)
        values.append(float(item.value) if takes is Type.FLOAT64 and item.value is not None else item.value)
    places = ", ".join(f"{{s{i}}}" for i in range(len(values)))
    return (
        Operation(
            "in",
            (takes,),
            BOOL,
            f"({{0}} IN ({places}))",
            "{0} in {k}",
            static=tuple(values),
            setup=f"frozenset(({places},))",
        ),
    ), [fitted]


def chosen(tests: Sequence[Node], outcomes: Sequence[Node], otherwise: Node) -> Node:
    """A case: boolean conditions, and outcomes brought to one type."""
    fitted, kind = common("case", [*outcomes, otherwise])
    if kind is None:
        raise Invalid("every outcome of a case is null.", hint="Give one a type: cast(null as float64).")
    fitting = []
    for condition in tests:
        test = fit(condition, Type.BOOL)
        if test is None:
            raise Invalid(f"a condition of a case is {condition.type}, not bool.", hint="Compare it: x <> 0.")
        fitting.append(test)
    return Case(tuple(zip(fitting, fitted[:-1], strict=True)), fitted[-1], kind)
