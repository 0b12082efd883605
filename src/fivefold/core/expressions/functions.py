"""The functions of the language by name, and what to say about those it does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.expressions import arithmetic, conditions, moments, texts
from fivefold.core.expressions.choose import choose
from fivefold.core.expressions.conditions import Choice
from fivefold.core.expressions.tree import Call, Literal, Node, Operation

OPERATORS: Mapping[str, tuple[Operation, ...]] = {**arithmetic.ARITHMETIC, **conditions.COMPARISONS}
FIXED: dict[str, tuple[Operation, ...]] = {**arithmetic.NUMBERS, **texts.TEXTS, **moments.MOMENTS}
MADE: dict[str, Callable[[Sequence[Node]], Choice]] = {
    "round": arithmetic.rounds,
    "coalesce": conditions.coalesce,
    "greatest": conditions.greatest,
    "least": conditions.least,
    "nullif": conditions.nullif,
    "concat": texts.concat,
    "regexp_matches": texts.regexp_matches,
    "date_trunc": moments.date_trunc,
}
ALIASES = {
    "power": "pow",
    "ceiling": "ceil",
    "substr": "substring",
    "ifnull": "coalesce",
    "iif": "if",
    "mod": "%",
    "instr": "strpos",
    "char_length": "length",
    "len": "length",
    "dow": "dayofweek",
    "dayofmonth": "day",
}
_AGGREGATES = frozenset(
    {
        "count",
        "sum",
        "avg",
        "mean",
        "min",
        "max",
        "median",
        "stddev",
        "std",
        "variance",
        "var_pop",
        "first",
        "last",
        "any_value",
        "quantile",
        "list",
        "array_agg",
        "string_agg",
        "mode",
    }
)
_INSTEAD: dict[str, str] = {
    "min": "Write least(a, b) for the lesser of two values.",
    "max": "Write greatest(a, b) for the greater of two values.",
    "log": "Write ln(x), log2(x) or log10(x).",
    "now": "A row has no present: pass the time as a column.",
    "random": "An expression gives the same value for the same row.",
}


def called(written: str, arguments: Sequence[Node]) -> Node:
    """The call of a function by any of its names.

    Raises Invalid for an unknown name (with the nearest), for an aggregate, and for arguments that do not fit.
    """
    name = ALIASES.get(written, written)
    if name == "if":
        if len(arguments) not in (2, 3):
            raise Invalid(f"if takes a condition and one or two values, not {len(arguments)} arguments.")
        condition, outcome, *other = arguments
        return conditions.chosen([condition], [outcome], other[0] if other else Literal(None, None))
    if name in MADE:
        return made(name, MADE[name](arguments))
    if name == "%" or name in FIXED:
        return choose(name, OPERATORS["%"] if name == "%" else FIXED[name], arguments)
    if name in _AGGREGATES:
        raise Invalid(
            f"{name} is an aggregate; an expression sees one row.",
            hint=_INSTEAD.get(name, "Declare it in a feature view, or derive it in a View."),
        )
    raise Invalid(
        f"no function {written!r}.", hint=_INSTEAD.get(name) or did_you_mean(written, [*FIXED, *MADE, *ALIASES, "if"])
    )


def made(name: str, choice: Choice) -> Call:
    """The call of an operation that was made for its arguments."""
    overloads, arguments = choice
    return choose(name, overloads, arguments)
