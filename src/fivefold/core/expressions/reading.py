"""sqlglot's tree to a typed one: names resolved, types checked, everything outside the dialect refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.expressions import conditions, texts
from fivefold.core.expressions.casts import cast
from fivefold.core.expressions.choose import choose
from fivefold.core.expressions.conditions import Choice
from fivefold.core.expressions.functions import OPERATORS, called, made
from fivefold.core.expressions.leaves import cast_target, column_name, constant
from fivefold.core.expressions.tree import Call, Column, Literal, Node
from fivefold.core.time import instant
from fivefold.core.types import Type

DEEPEST = 100
_INFIX: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.IntDiv: "//",
    exp.Mod: "%",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeNEQ: "is distinct from",
    exp.NullSafeEQ: "is distinct from",
}
_CHAINS: dict[type[exp.Expr], Callable[[Sequence[Node]], Choice]] = {
    exp.And: conditions.conjunction,
    exp.Or: conditions.disjunction,
    exp.DPipe: texts.joined,
}
_CHAIN_NAMES: dict[type[exp.Expr], str] = {exp.And: "and", exp.Or: "or", exp.DPipe: "||"}


class Reader:
    """Reads one expression over known columns."""

    def __init__(self, columns: Mapping[str, Type]) -> None:
        self.columns = columns

    def read(self, tree: exp.Expr, depth: int = 0) -> Node:
        """The typed node of a tree. Raises Invalid for whatever the dialect does not have."""
        if depth > DEEPEST:
            raise Invalid(
                f"an expression is nested too deeply (at most {DEEPEST} operations).",
                hint="Split it into several derived columns.",
            )
        kind = type(tree)
        if kind is exp.Paren:
            return self.read(tree.this, depth)
        if kind in _CHAINS:
            parts = [self.read(t, depth + 1) for t in _flat(tree, kind)]
            return made(_CHAIN_NAMES[kind], _CHAINS[kind](parts))
        if kind in _INFIX:
            return self.infix(tree, depth)
        reading = _READINGS.get(kind)
        if reading is None:
            raise Invalid(f"{_words(tree)} is not part of the expression language.", hint=_outside(tree))
        return reading(self, tree, depth + 1)

    def infix(self, tree: exp.Expr, depth: int) -> Node:
        name = _INFIX[type(tree)]
        sides = self.read(tree.this, depth + 1), self.read(tree.expression, depth + 1)
        call = choose(name, OPERATORS[name], sides)
        return choose("not", OPERATORS["not"], [call]) if isinstance(tree, exp.NullSafeEQ) else call

    def literal(self, tree: exp.Expr, depth: int) -> Node:
        return constant(tree)

    def nothing(self, tree: exp.Expr, depth: int) -> Node:
        return Literal(None, None)

    def truth(self, tree: exp.Expr, depth: int) -> Node:
        return Literal(bool(tree.this), Type.BOOL)

    def column(self, tree: exp.Expr, depth: int) -> Node:
        name = column_name(tree)
        if name not in self.columns:
            listed = ", ".join(sorted(self.columns)[:12])
            raise Invalid(f"no column {name!r} (have: {listed or 'none'}).", hint=did_you_mean(name, self.columns))
        return Column(name, self.columns[name])

    def negative(self, tree: exp.Expr, depth: int) -> Node:
        inner = tree.this
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if isinstance(inner, exp.Literal) and not inner.is_string:
            return constant(inner, "-")
        operand = self.read(inner, depth)
        if isinstance(operand, Literal) and operand.value == 0 and operand.type in (Type.INT64, Type.FLOAT64):
            return operand  # zero has no sign: written with one it would be read as another tree
        return choose("negate", OPERATORS["negate"], [operand])

    def negation(self, tree: exp.Expr, depth: int) -> Node:
        return self.denied(self.read(tree.this, depth), True)

    def denied(self, node: Node, negate: bool) -> Node:
        return choose("not", OPERATORS["not"], [node]) if negate else node

    def identity(self, tree: exp.Expr, depth: int) -> Node:
        subject = self.read(tree.this, depth)
        if isinstance(tree.expression, exp.Null):
            name = "is null"
        elif isinstance(tree.expression, exp.Boolean):
            name = "is true" if tree.expression.this else "is false"
        else:
            raise Invalid("is takes null, true or false, or distinct from a value.")
        return choose(name, OPERATORS[name], [subject])

    def between(self, tree: exp.Expr, depth: int) -> Node:
        parts = [self.read(tree.args[k], depth) for k in ("this", "low", "high")]
        if tree.args.get("symmetric"):
            raise Invalid("between symmetric is not part of the expression language.")
        return self.denied(choose("between", OPERATORS["between"], parts), bool(tree.args.get("negate")))

    def membership(self, tree: exp.Expr, depth: int) -> Node:
        if tree.args.get("query") or tree.args.get("unnest") or tree.args.get("field"):
            raise Invalid("in takes a list of literals, not a query or a column.", hint="Write x in (1, 2, 3).")
        listed = [self.read(t, depth) for t in tree.args.get("expressions") or []]
        call = made("in", conditions.membership(self.read(tree.this, depth), listed))
        return self.denied(call, bool(tree.args.get("negate")))

    def like(self, tree: exp.Expr, depth: int) -> Node:
        escape = None
        if isinstance(tree, exp.Escape):
            escape = self.read(tree.expression, depth)
            tree = tree.this
        if not isinstance(tree, exp.Like | exp.ILike):
            raise Invalid("escape belongs after like 'pattern' or ilike 'pattern'.")
        name = "like" if isinstance(tree, exp.Like) else "ilike"
        subject, pattern = self.read(tree.this, depth), self.read(tree.expression, depth)
        call = made(name, texts.like(name, subject, pattern, escape))
        return self.denied(call, bool(tree.args.get("negate")))

    def case(self, tree: exp.Expr, depth: int) -> Node:
        """A case with a subject compares it with each value in turn."""
        subject = self.read(tree.this, depth) if tree.this else None
        tests, outcomes = [], []
        for branch in tree.args["ifs"]:
            condition = self.read(branch.this, depth)
            tests.append(condition if subject is None else choose("=", OPERATORS["="], [subject, condition]))
            outcomes.append(self.read(branch.args["true"], depth))
        default = tree.args.get("default")
        return conditions.chosen(tests, outcomes, self.read(default, depth) if default else Literal(None, None))

    def cast(self, tree: exp.Expr, depth: int) -> Node:
        target = cast_target(tree)
        source = tree.this
        if target is Type.TIMESTAMP and isinstance(source, exp.Literal) and source.is_string:
            return Literal(instant(source.this, "timestamp"), Type.TIMESTAMP)
        if tree.args.get("format") or tree.args.get("safe"):
            raise Invalid("cast takes no format.")
        node = self.read(source, depth)
        if isinstance(node, Literal) and node.type is None:
            return Literal(None, target)
        assert node.type is not None
        return Call(cast(node.type, target), (node,))

    def call(self, tree: exp.Expr, depth: int) -> Node:
        written = str(tree.this).lower()
        for argument in tree.expressions:
            if isinstance(argument, exp.Star | exp.Distinct | exp.Order):
                raise Invalid(
                    f"{written}({argument.sql()}) is an aggregate; an expression sees one row.", hint=_outside(tree)
                )
        return called(written, [self.read(t, depth) for t in tree.expressions])


_READINGS: dict[type[exp.Expr], Callable[[Reader, exp.Expr, int], Node]] = {
    exp.Literal: Reader.literal,
    exp.Null: Reader.nothing,
    exp.Boolean: Reader.truth,
    exp.Column: Reader.column,
    exp.Neg: Reader.negative,
    exp.Not: Reader.negation,
    exp.Is: Reader.identity,
    exp.Between: Reader.between,
    exp.In: Reader.membership,
    exp.Like: Reader.like,
    exp.ILike: Reader.like,
    exp.Escape: Reader.like,
    exp.Case: Reader.case,
    exp.Cast: Reader.cast,
    exp.Anonymous: Reader.call,
}


def _flat(tree: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """The parts of a chain of one associative operator, without recursion: chains may be long."""
    todo, parts = [tree], []
    while todo:
        at = todo.pop()
        inner = at
        while isinstance(inner, exp.Paren):
            inner = inner.this
        if type(inner) is kind:
            todo += [inner.expression, inner.this]
        else:
            parts.append(at)
    return parts


def _words(tree: exp.Expr) -> str:
    text = tree.sql()
    return repr(text if len(text) < 60 else text[:57] + "…")


def _outside(tree: exp.Expr) -> str:
    match tree:
        case exp.Subquery() | exp.Select() | exp.Exists():
            return "An expression sees one row: put queries in a View."
        case exp.Window() | exp.Filter() | exp.WithinGroup() | exp.Anonymous():
            return "An expression sees one row: aggregates and windows belong in a feature view or a View."
        case exp.Placeholder() | exp.Parameter():
            return "Write the value out, or pass it as a column."
        case exp.Alias():
            return "Two things stand side by side: an operator is missing, or a name is given elsewhere."
        case exp.Interval():
            return "Compute with seconds: seconds_between(a, b), make_timestamp(epoch_us(t) + 3600000000)."
        case exp.BitwiseXor():
            return "Write pow(a, b) for a power."
        case exp.Star():
            return "Write the column's name."
    return ""
