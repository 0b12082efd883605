"""Which operation a name means for the types at hand."""

from __future__ import annotations

from collections.abc import Sequence

from fivefold.core.errors import Invalid
from fivefold.core.expressions.spelling import spell_call
from fivefold.core.expressions.tree import Call, Literal, Node, Operation
from fivefold.core.types import Type

WIDEN = Operation("widen", (Type.INT64,), Type.FLOAT64, "CAST({0} AS DOUBLE)", "float({0})")


def fit(node: Node, wanted: Type) -> Node | None:
    """The node as `wanted`: itself, a null of that type, an integer made float; None when it does not fit."""
    if node.type is wanted:
        return node
    if isinstance(node, Literal) and node.type is None:
        return Literal(None, wanted)
    if node.type is Type.INT64 and wanted is Type.FLOAT64:
        return Call(WIDEN, (node,))
    return None


def choose(name: str, overloads: Sequence[Operation], arguments: Sequence[Node]) -> Call:
    """The first overload that the arguments fit.

    Raises Invalid naming the operation, the types it met and the ones it takes.
    """
    for operation in overloads:
        if len(operation.takes) == len(arguments):
            fitted = [fit(a, t) for a, t in zip(arguments, operation.takes, strict=True)]
            if None not in fitted:
                return Call(operation, tuple(n for n in fitted if n is not None))
    raise Invalid(
        f"{name} cannot take {types(arguments)} in {spell_call(name, arguments)!r} "
        f"(accepted: {', '.join(dict.fromkeys(_signature(o) for o in overloads))}).",
        hint=_mend(arguments),
    )


def common(name: str, nodes: Sequence[Node]) -> tuple[tuple[Node, ...], Type | None]:
    """All nodes in one type: theirs, or float64 where int64 and float64 meet; None when all are null.

    Raises Invalid naming the operation and the types when there is no such type.
    """
    met = {n.type for n in nodes if n.type is not None}
    if not met:
        return tuple(nodes), None
    wanted = met.pop() if len(met) == 1 else Type.FLOAT64
    fitted = tuple(fit(n, wanted) for n in nodes)
    if None in fitted:
        raise Invalid(
            f"{name} cannot bring {types(nodes)} to one type in {spell_call(name, nodes)!r}.", hint=_mend(nodes)
        )
    return tuple(n for n in fitted if n is not None), wanted


def types(nodes: Sequence[Node]) -> str:
    """The nodes' types in words: `string and int64`."""
    names = [n.type.value if n.type else "null" for n in nodes]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "no arguments"


def _signature(operation: Operation) -> str:
    return f"({', '.join(t.value for t in operation.takes)})"


def _mend(nodes: Sequence[Node]) -> str:
    met = {n.type for n in nodes}
    if Type.TIMESTAMP in met and Type.STRING in met:
        return "Write a time as timestamp '2013-11-01T06:30:00Z'."
    return "Convert with cast(x as int64), float64, bool or string." if len(met) > 1 else ""
