"""The leaves of sqlglot's tree: columns, constants and the types of casts."""

from __future__ import annotations

from sqlglot import exp

from fivefold.core.errors import Invalid
from fivefold.core.expressions.tree import Literal
from fivefold.core.types import Type

_INT64 = range(-(2**63), 2**63)
_TYPES = {
    "BIGINT": Type.INT64,
    "INT": Type.INT64,
    "DOUBLE": Type.FLOAT64,
    "FLOAT": Type.FLOAT64,
    "FLOAT64": Type.FLOAT64,
    "BOOLEAN": Type.BOOL,
    "TEXT": Type.STRING,
    "VARCHAR": Type.STRING,
    "TIMESTAMP": Type.TIMESTAMP,
}


def column_name(tree: exp.Expr) -> str:
    """The name of a column; `view.feature` names the column `"view.feature"`. Raises Invalid for `*` and long paths."""
    parts = tree.parts  # type: ignore[attr-defined]
    if len(parts) > 2 or not isinstance(tree.this, exp.Identifier):
        raise Invalid(f"{tree.sql()} is not a column of the row.", hint="Write the column's name alone.")
    if len(parts) == 2:
        return ".".join(str(part.name) for part in parts)
    name = str(tree.name)
    if not tree.this.args.get("quoted") and not name.isidentifier():
        raise Invalid(f"{name!r} is not a column's name.", hint="Put unusual names in double quotes.")
    if name.startswith("__ff"):
        raise Invalid(f"the column name {name!r} is reserved: it begins with __ff.", hint="Rename the column.")
    return name


def constant(tree: exp.Expr, sign: str = "") -> Literal:
    """A number or a text; `sign` is the minus before it. Raises Invalid for a number beyond its type."""
    text = sign + str(tree.this)
    if tree.args.get("is_string"):
        return Literal(str(tree.this), Type.STRING)
    if text.lstrip("-").isdecimal() and text.isascii():
        if len(text) > 20 or int(text) not in _INT64:
            raise Invalid(f"the number {text} does not fit int64.", hint=f"Write it as a float: {text}.0")
        return Literal(int(text), Type.INT64)
    try:
        value = float(text)
    except ValueError:
        raise Invalid(f"{text} is not a number.") from None
    if value in (float("inf"), float("-inf")):
        raise Invalid(f"the number {text} is beyond float64.", hint="The largest is about 1.8e308.")
    return Literal(value + 0.0, Type.FLOAT64)


def cast_target(tree: exp.Expr) -> Type:
    """The type a cast names. Raises Invalid for one the language does not have."""
    to = tree.args["to"]
    word = str(to.args.get("kind") or getattr(to.this, "value", to.this)).upper()
    if word not in _TYPES or to.expressions:
        raise Invalid(
            f"cast has no type {to.sql().lower()!r} (accepted: {', '.join(t.value for t in Type)}).",
            hint="Write timestamp '2013-11-01' for a day's start." if word == "DATE" else "",
        )
    return _TYPES[word]
