"""sqlglot's tree to a typed one: names resolved, types checked, everything outside the dialect refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.expressions import conditions, moments, numbers, texts
from fivefold.core.expressions.casts import cast
from fivefold.core.expressions.choose import choose, common, fit
from fivefold.core.expressions.conditions import Choice
from fivefold.core.expressions.tree import Call, Case, Column, Literal, Node, Operation
from fivefold.core.time import instant
from fivefold.core.types import Type

DEEPEST = 100
_INT64 = range(-2**63, 2**63)

FIXED: dict[str, tuple[Operation, ...]] = {**numbers.NUMBERS, **texts.TEXTS, **moments.MOMENTS}
MADE: dict[str, Callable[[Sequence[Node]], Choice]] = {
    "round": numbers.rounds, "coalesce": conditions.coalesce, "greatest": conditions.greatest,
    "least": conditions.least, "nullif": conditions.nullif, "concat": texts.concat,
    "regexp_matches": texts.regexp_matches, "date_trunc": moments.date_trunc,
}
ALIASES = {"power": "pow", "ceiling": "ceil", "substr": "substring", "ifnull": "coalesce", "iif": "if", "mod": "%",
           "instr": "strpos", "char_length": "length", "len": "length", "dow": "dayofweek", "dayofmonth": "day"}
_INFIX: dict[type[exp.Expr], str] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.IntDiv: "//", exp.Mod: "%", exp.EQ: "=", exp.NEQ: "<>",
    exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=", exp.NullSafeNEQ: "is distinct from",
    exp.NullSafeEQ: "is distinct from",
}
_OPERATORS = {**numbers.ARITHMETIC, **conditions.COMPARISONS}
_CHAINS: dict[type[exp.Expr], Callable[[Sequence[Node]], Choice]] = {
    exp.And: conditions.conjunction, exp.Or: conditions.disjunction, exp.DPipe: texts.joined}
_CHAIN_NAMES: dict[type[exp.Expr], str] = {exp.And: "and", exp.Or: "or", exp.DPipe: "||"}
_TYPES = {"BIGINT": Type.INT64, "INT": Type.INT64, "DOUBLE": Type.FLOAT64, "FLOAT": Type.FLOAT64,
          "FLOAT64": Type.FLOAT64, "BOOLEAN": Type.BOOL, "TEXT": Type.STRING, "VARCHAR": Type.STRING,
          "TIMESTAMP": Type.TIMESTAMP}
_AGGREGATES = frozenset({"count", "sum", "avg", "mean", "min", "max", "median", "stddev", "std", "variance", "var_pop",
                         "first", "last", "any_value", "quantile", "list", "array_agg", "string_agg", "mode"})
_INSTEAD: dict[str, str] = {
    "min": "Write least(a, b) for the lesser of two values.",
    "max": "Write greatest(a, b) for the greater of two values.",
    "log": "Write ln(x), log2(x) or log10(x).", "now": "A row has no present: pass the time as a column.",
    "random": "An expression gives the same value for the same row.",
}


class Reader:
    """Reads one expression over known columns."""

    def __init__(self, columns: Mapping[str, Type]) -> None:
        self.columns = columns

    def read(self, tree: exp.Expr, depth: int = 0) -> Node:
        """The typed node of a tree. Raises Invalid for whatever the dialect does not have."""
        if depth > DEEPEST:
            raise Invalid(f"an expression is nested too deeply (at most {DEEPEST} operations).",
                          hint="Split it into several derived columns.")
        kind = type(tree)
        if kind is exp.Paren:
            return self.read(tree.this, depth)
        if kind in _CHAINS:
            parts = [self.read(t, depth + 1) for t in _flat(tree, kind)]
            return self.made(_CHAIN_NAMES[kind], _CHAINS[kind](parts))
        if kind in _INFIX:
            return self.infix(tree, depth)
        reading = _READINGS.get(kind)
        if reading is None:
            raise Invalid(f"{_words(tree)} is not part of the expression language.", hint=_outside(tree))
        return reading(self, tree, depth + 1)

    def made(self, name: str, choice: Choice) -> Call:
        overloads, arguments = choice
        return choose(name, overloads, arguments)

    def infix(self, tree: exp.Expr, depth: int) -> Node:
        name = _INFIX[type(tree)]
        sides = self.read(tree.this, depth + 1), self.read(tree.expression, depth + 1)
        call = choose(name, _OPERATORS[name], sides)
        return choose("not", _OPERATORS["not"], [call]) if isinstance(tree, exp.NullSafeEQ) else call

    def literal(self, tree: exp.Expr, depth: int) -> Node:
        return _constant(tree, "")

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
            return _constant(inner, "-")
        return choose("negate", _OPERATORS["negate"], [self.read(inner, depth)])

    def negation(self, tree: exp.Expr, depth: int) -> Node:
        return self.denied(self.read(tree.this, depth), True)

    def denied(self, node: Node, negate: bool) -> Node:
        return choose("not", _OPERATORS["not"], [node]) if negate else node

    def identity(self, tree: exp.Expr, depth: int) -> Node:
        subject = self.read(tree.this, depth)
        if isinstance(tree.expression, exp.Null):
            name = "is null"
        elif isinstance(tree.expression, exp.Boolean):
            name = "is true" if tree.expression.this else "is false"
        else:
            raise Invalid("is takes null, true or false, or distinct from a value.")
        return choose(name, _OPERATORS[name], [subject])

    def between(self, tree: exp.Expr, depth: int) -> Node:
        parts = [self.read(tree.args[k], depth) for k in ("this", "low", "high")]
        if tree.args.get("symmetric"):
            raise Invalid("between symmetric is not part of the expression language.")
        return self.denied(choose("between", _OPERATORS["between"], parts), bool(tree.args.get("negate")))

    def membership(self, tree: exp.Expr, depth: int) -> Node:
        if tree.args.get("query") or tree.args.get("unnest") or tree.args.get("field"):
            raise Invalid("in takes a list of literals, not a query or a column.", hint="Write x in (1, 2, 3).")
        listed = [self.read(t, depth) for t in tree.args.get("expressions") or []]
        call = self.made("in", conditions.membership(self.read(tree.this, depth), listed))
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
        call = self.made(name, texts.like(name, subject, pattern, escape))
        return self.denied(call, bool(tree.args.get("negate")))

    def case(self, tree: exp.Expr, depth: int) -> Node:
        """A case with a subject compares it with each value in turn."""
        subject = self.read(tree.this, depth) if tree.this else None
        conditions_, outcomes = [], []
        for branch in tree.args["ifs"]:
            condition = self.read(branch.this, depth)
            conditions_.append(condition if subject is None else choose("=", _OPERATORS["="], [subject, condition]))
            outcomes.append(self.read(branch.args["true"], depth))
        default = tree.args.get("default")
        return chosen(conditions_, outcomes, self.read(default, depth) if default else Literal(None, None))

    def cast(self, tree: exp.Expr, depth: int) -> Node:
        target = _target(tree)
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
        name = ALIASES.get(written, written)
        for argument in tree.expressions:
            if isinstance(argument, exp.Star | exp.Distinct | exp.Order):
                raise Invalid(f"{written}({argument.sql()}) is an aggregate; an expression sees one row.",
                              hint=_outside(tree))
        arguments = [self.read(t, depth) for t in tree.expressions]
        if name == "if":
            if len(arguments) not in (2, 3):
                raise Invalid(f"if takes a condition and one or two values, not {len(arguments)} arguments.")
            condition, outcome, *other = arguments
            return chosen([condition], [outcome], other[0] if other else Literal(None, None))
        if name == "%":
            return choose(name, _OPERATORS[name], arguments)
        if name in MADE:
            return self.made(name, MADE[name](arguments))
        if name in FIXED:
            return choose(name, FIXED[name], arguments)
        if name in _AGGREGATES:
            raise Invalid(f"{name} is an aggregate; an expression sees one row.", hint=_INSTEAD.get(
                name, "Declare it in a feature view, or derive it in a View."))
        raise Invalid(f"no function {written!r}.",
                      hint=_INSTEAD.get(name) or did_you_mean(written, [*FIXED, *MADE, *ALIASES, "if"]))


_READINGS: dict[type[exp.Expr], Callable[[Reader, exp.Expr, int], Node]] = {
    exp.Literal: Reader.literal, exp.Null: Reader.nothing, exp.Boolean: Reader.truth, exp.Column: Reader.column,
    exp.Neg: Reader.negative, exp.Not: Reader.negation, exp.Is: Reader.identity, exp.Between: Reader.between,
    exp.In: Reader.membership, exp.Like: Reader.like, exp.ILike: Reader.like, exp.Escape: Reader.like,
    exp.Case: Reader.case, exp.Cast: Reader.cast, exp.Anonymous: Reader.call,
}


def chosen(conditions_: Sequence[Node], outcomes: Sequence[Node], otherwise: Node) -> Node:
    """A case: boolean conditions, and outcomes brought to one type."""
    fitted, kind = common("case", [*outcomes, otherwise])
    if kind is None:
        raise Invalid("every outcome of a case is null.", hint="Give one a type: cast(null as float64).")
    tests = []
    for condition in conditions_:
        test = fit(condition, Type.BOOL)
        if test is None:
            raise Invalid(f"a condition of a case is {condition.type}, not bool.", hint="Compare it: x <> 0.")
        tests.append(test)
    return Case(tuple(zip(tests, fitted[:-1], strict=True)), fitted[-1], kind)


def column_name(tree: exp.Expr) -> str:
    """The name of a column that stands alone. Raises Invalid for `table.column` and `*`."""
    if len(tree.parts) != 1 or not isinstance(tree.this, exp.Identifier):  # type: ignore[attr-defined]
        raise Invalid(f"{tree.sql()} is not a column of the row.", hint="Write the column's name alone.")
    name = str(tree.name)
    if not tree.this.args.get("quoted") and not name.isidentifier():
        raise Invalid(f"{name!r} is not a column's name.", hint="Put unusual names in double quotes.")
    if name.startswith("__ff"):
        raise Invalid(f"the column name {name!r} is reserved: it begins with __ff.", hint="Rename the column.")
    return name


def _constant(tree: exp.Expr, sign: str) -> Literal:
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


def _target(tree: exp.Expr) -> Type:
    to = tree.args["to"]
    word = str(to.args.get("kind") or getattr(to.this, "value", to.this)).upper()
    if word not in _TYPES or to.expressions:
        raise Invalid(f"cast has no type {to.sql().lower()!r} (accepted: {', '.join(t.value for t in Type)}).",
                      hint="Write timestamp '2013-11-01' for a day's start." if word == "DATE" else "")
    return _TYPES[word]


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
