"""An expression as the source of a Python function of one row: straight statements, one an operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fivefold.core.expressions.moments import FIRST, LAST
from fivefold.core.expressions.rowcalls import NAMES
from fivefold.core.expressions.tree import SLOT, Call, Case, Column, Literal, Node, Operation, children
from fivefold.core.types import Type

_BOUNDARY = {
    # + 0.0 makes an integer float and a negative zero zero
    Type.FLOAT64: "if {0} is not None:\n    {0} = {0} + 0.0 if isfinite({0}) else None",
    Type.TIMESTAMP: f"if {{0}} is not None and not {FIRST} <= {{0}} <= {LAST}:\n    {{0}} = None",
}
_OUT_OF = {"finite": "not isfinite({0})", "int64": "not -9223372036854775808 <= {0} <= 9223372036854775807"}
_Known = dict[Node, tuple[str, bool]]


def row_source(node: Node, columns: Sequence[str]) -> str:
    """Python source of `row(c1, c2, …)`, one argument a column in the order given."""
    writer = _Writer({name: f"c{i}" for i, name in enumerate(columns, 1)})
    known: _Known = {}
    types = _types(node)
    for name, slot in writer.slots.items():
        if boundary := _BOUNDARY.get(types[name]):
            for line in boundary.format(slot).splitlines():
                writer.say(line)
    writer.say(f"return {writer.value(node, known)[0]}")
    legend = [f"# c{i} is {name!r}" for i, name in enumerate(columns, 1)]
    head = f"def row({', '.join(writer.slots.values())}):"
    return "\n".join([*writer.constants, *legend, head, *writer.lines]) + "\n"


def row_function(source: str) -> Callable[..., Any]:
    """The function that the source defines; it can name `math` and the functions of `rowcalls`, and nothing else."""
    space: dict[str, Any] = {"__builtins__": {}, **NAMES}
    exec(compile(source, "<expression>", "exec"), space)
    function: Callable[..., Any] = space["row"]
    return function


def _types(node: Node) -> dict[str, Type]:
    found: dict[str, Type] = {}
    todo = [node]
    while todo:
        at = todo.pop()
        if isinstance(at, Column):
            found[at.name] = at.type
        todo.extend(children(at))
    return found


class _Writer:
    """Writes statements; `known` maps nodes computed on every path to here to (name, whether it may be null)."""

    def __init__(self, slots: dict[str, str]) -> None:
        self.slots = slots
        self.lines: list[str] = []
        self.constants: list[str] = []
        self.depth = 1
        self.count = 0

    def say(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def fresh(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def value(self, node: Node, known: _Known) -> tuple[str, bool]:
        match node:
            case Literal(value=value):
                return repr(value), value is None
            case Column(name=name):
                return self.slots[name], True
        if node not in known:
            known[node] = self.case(node, known) if isinstance(node, Case) else self.call(node, known)
        return known[node]

    def call(self, call: Call, known: _Known) -> tuple[str, bool]:
        op = call.operation
        given = call.arguments[0] if call.arguments else None
        if op.name == "widen" and isinstance(given, Literal) and isinstance(given.value, int):
            return repr(float(given.value)), False
        values = [self.value(a, known) for a in call.arguments]
        nullable = [name for name, may_be_null in dict.fromkeys(values) if may_be_null] if op.strict else []
        names = [name for name, _ in values]
        if not op.strict:
            # `1 is None` would draw a warning from Python
            names = [self.held(n) if isinstance(a, Literal) else n for n, a in zip(names, call.arguments, strict=True)]
        body = self.filled(op, names)
        target = self.fresh()
        if op.check:
            self.say(f"{target} = None")
            if nullable:
                self.say(f"if {' and '.join(f'{n} is not None' for n in nullable)}:")
                self.depth += 1
            self.say(f"{target} = {body}")
            self.say(f"if {_OUT_OF[op.check].format(target)}:")
            self.say(f"    {target} = None")
            self.depth -= bool(nullable)
        elif nullable:
            self.say(f"{target} = None if {' or '.join(f'{n} is None' for n in nullable)} else {body}")
        else:
            self.say(f"{target} = {body}")
        return target, not op.never_null and bool(nullable or op.check or op.partial or not op.strict)

    def held(self, constant: str) -> str:
        target = self.fresh()
        self.say(f"{target} = {constant}")
        return target

    def filled(self, op: Operation, names: Sequence[str]) -> str:
        def fill(slot: Any) -> str:
            if slot[2] is None:
                return constant
            return repr(op.static[int(slot[2])]) if slot[1] else names[int(slot[2])]

        constant = ""
        if op.setup:
            constant = f"k{len(self.constants) + 1}"
            self.constants.append(f"{constant} = {SLOT.sub(fill, op.setup)}")
        return SLOT.sub(fill, op.python)

    def case(self, case: Case, known: _Known) -> tuple[str, bool]:
        conditions = [self.value(c, known)[0] for c, _ in case.branches]
        target = self.fresh()
        outcomes = [v for _, v in case.branches]
        nullable = False
        for i, outcome in enumerate([*outcomes, case.otherwise]):
            self.say("else:" if i == len(conditions) else f"{'elif' if i else 'if'} {conditions[i]}:")
            self.depth += 1
            name, may_be_null = self.value(outcome, dict(known))
            nullable = nullable or may_be_null
            self.say(f"{target} = {name}")
            self.depth -= 1
        return target, nullable
