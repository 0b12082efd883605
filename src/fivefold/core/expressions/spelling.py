"""The canonical text of an expression: one spelling for every layout of the same meaning. Digests stand on it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fivefold.core.expressions.tree import Call, Case, Column, Literal, Node, Value
from fivefold.core.time import iso
from fivefold.core.types import Type

# binding strength, loosest first; sqlglot's grammar puts || between comparisons and sums
_OR, _AND, _NOT, _COMPARE, _JOIN, _SUM, _PRODUCT, _MINUS, _ATOM = range(1, 10)
_INFIX = {
    "or": _OR,
    "and": _AND,
    "=": _COMPARE,
    "<>": _COMPARE,
    "<": _COMPARE,
    "<=": _COMPARE,
    ">": _COMPARE,
    ">=": _COMPARE,
    "is distinct from": _COMPARE,
    "||": _JOIN,
    "+": _SUM,
    "-": _SUM,
    "*": _PRODUCT,
    "/": _PRODUCT,
    "//": _PRODUCT,
    "%": _PRODUCT,
}
_PREDICATES = {"is null", "is true", "is false", "between", "in", "like", "ilike"}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# words with a meaning of their own somewhere in the grammar; as column names they are quoted
_WORDS = """
    all alter and any array as asc at between by case cast char collate convert create cross cube current_date
    current_datetime current_time current_timestamp current_user date datetime default delete desc describe
    distinct div drop else end escape except exists extract false fetch filter for format from full glob grant
    group having if ilike in inner insert intersect interval into is isnull join lateral left like limit list map
    merge natural not notnull null offset on or order outer over overlaps partition partitioned_by pivot qualify
    regexp replace returning revoke right rlike rollback rollup row select set similar some struct symmetric table
    tablesample then time timestamp timestamptz true try_cast uncache union unique unknown unnest unpivot update
    using values when where window with within xor
    """
_RESERVED = frozenset(_WORDS.split())


def spell(node: Node) -> str:
    """The canonical text of a node."""
    return _spell(node)[0]


def spell_call(name: str, arguments: Sequence[Node]) -> str:
    """How a call that may not have a meaning would be written, for error messages."""
    texts = [spell(a) for a in arguments]
    if name in _INFIX or not _PLAIN.fullmatch(name):
        return f" {name} ".join(texts) if len(texts) > 1 else f"{name}{''.join(texts)}"
    return f"{name}({', '.join(texts)})"


def constant(value: Value, kind: Type | None) -> str:
    """A literal in canonical spelling."""
    if value is None:
        return "null" if kind is None else f"cast(null as {kind.value})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if kind is Type.TIMESTAMP:
        return f"timestamp '{iso(int(value))}'"
    return repr(value)


def name(column: str) -> str:
    """A column's name, quoted where it has to be."""
    if _PLAIN.fullmatch(column) and column.lower() not in _RESERVED:
        return column
    return '"' + column.replace('"', '""') + '"'


def _spell(node: Node) -> tuple[str, int]:
    match node:
        case Literal(value=value, type=kind):
            text = constant(value, kind)
            return text, _MINUS if text.startswith("-") else _ATOM
        case Column(name=column):
            return name(column), _ATOM
        case Case(branches=branches, otherwise=otherwise):
            whens = " ".join(f"when {spell(c)} then {spell(v)}" for c, v in branches)
            other = "" if isinstance(otherwise, Literal) and otherwise.value is None else f" else {spell(otherwise)}"
            return f"case {whens}{other} end", _ATOM
        case Call():
            return _call(node)


def _call(call: Call) -> tuple[str, int]:
    op, arguments, static = call.operation, call.arguments, call.operation.static
    first = arguments[0] if arguments else None
    if op.name in _INFIX:
        level = _INFIX[op.name]
        # only the left side of an arithmetic chain may stand bare at its own level
        bare = level in (_SUM, _PRODUCT)
        parts = [_at(a, level if bare and i == 0 else level + 1) for i, a in enumerate(arguments)]
        return f" {op.name} ".join(parts), level
    if first is not None:
        if op.name == "widen":
            return _spell(first)
        if op.name == "not":
            if isinstance(first, Call) and first.operation.name in _PREDICATES:
                return _predicate(first, "not "), _COMPARE
            return f"not {_at(first, _COMPARE)}", _NOT
        if op.name == "negate":
            return f"-{_at(first, _ATOM)}", _MINUS
        if op.name in _PREDICATES:
            return _predicate(call, ""), _COMPARE
        if op.name == "cast":
            return f"cast({spell(first)} as {op.gives.value})", _ATOM
    texts = [spell(a) for a in arguments]
    fixed = [constant(v, None) for v in static]
    listed = fixed + texts if op.name == "date_trunc" else texts + fixed
    return f"{op.name}({', '.join(listed)})", _ATOM


def _predicate(call: Call, negation: str) -> str:
    op, static = call.operation, call.operation.static
    subject, *others = [_at(a, _JOIN) for a in call.arguments]
    if op.name.startswith("is "):
        return f"{subject} is {negation}{op.name.removeprefix('is ')}"
    if op.name == "between":
        return f"{subject} {negation}between {others[0]} and {others[1]}"
    if op.name == "in":
        return f"{subject} {negation}in ({', '.join(constant(v, op.takes[0]) for v in static)})"
    escape = f" escape {constant(static[1], None)}" if static[1] is not None else ""
    return f"{subject} {negation}{op.name} {constant(static[0], None)}{escape}"


def _at(node: Node, level: int) -> str:
    text, strength = _spell(node)
    return text if strength >= level else f"({text})"
