"""The front: text and column types in, an expression out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fivefold.core.errors import Invalid
from fivefold.core.expressions.spelling import spell
from fivefold.core.expressions.tree import Literal, Node, children
from fivefold.core.types import Type

_MOST_NODES = 2000


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked scalar expression over the columns of one row.

    `text` is the canonical spelling (digests stand on it), `columns` the columns in order of first use, `type` what
    it gives. `sql` and `function` mean the same, bit for bit.
    """

    text: str
    columns: tuple[str, ...]
    type: Type
    tree: Node

    def sql(self, renames: Mapping[str, str] | None = None) -> str:
        """DuckDB SQL for the value, of the exact column type; it raises for no row.

        `renames` gives, for a column, the SQL to use instead of its quoted name.
        """
        from fivefold.core.expressions.sql import to_sql

        return to_sql(self.tree, self.type, renames or {})

    def source(self) -> str:
        """The Python source of the row function."""
        from fivefold.core.expressions.rowcode import row_source

        return row_source(self.tree, self.columns)

    def function(self) -> Callable[..., Any]:
        """The row function: positional arguments in the order of `columns`, None for null, timestamps as int64
        microseconds. Compiled at each call: keep what it returns.

        Arguments are Python's own None, int, float, bool and str; an int may stand for a float.

        >>> parse("distance / 60", {"distance": Type.FLOAT64}).function()(90.0)
        1.5
        """
        from fivefold.core.expressions.rowcode import row_function

        return row_function(self.source())


def parse(text: str, columns: Mapping[str, Type], where: str = "expression") -> Expression:
    """The expression that `text` means over columns of the given types.

    Raises Invalid, its message beginning with `where`, for a syntax error (with the position), an unknown column or
    function (with the nearest name), a clash of types, and for whatever does not concern a single row.
    """
    try:
        from fivefold.core.expressions.dialect import tree_of
        from fivefold.core.expressions.reading import Reader

        tree = tree_of(text)
        node = Reader(columns).read(tree)
        if node.type is None:
            raise Invalid("the expression is always null.", hint="Give it a type: cast(null as float64).")
        if _size(node) > _MOST_NODES:
            raise Invalid(
                f"the expression has {_size(node)} parts (at most {_MOST_NODES}).",
                hint="Split it into several derived columns.",
            )
        return Expression(spell(node), _ordered(tree), node.type, node)
    except Invalid as error:
        raise Invalid(f"{where}: {error.message}", hint=error.hint) from None
    except RecursionError:
        raise Invalid(
            f"{where}: the expression is nested too deeply.", hint="Split it into several derived columns."
        ) from None


def columns_used(text: str, where: str = "expression") -> tuple[str, ...]:
    """The columns that `text` names, in order of first use, without knowing their types.

    Raises Invalid, its message beginning with `where`, for a syntax error.
    """
    from fivefold.core.expressions.dialect import tree_of

    try:
        return _ordered(tree_of(text))
    except Invalid as error:
        raise Invalid(f"{where}: {error.message}", hint=error.hint) from None


def _ordered(tree: Any) -> tuple[str, ...]:
    from sqlglot import exp

    from fivefold.core.expressions.leaves import column_name

    found = sorted(tree.find_all(exp.Column), key=lambda column: column.this.meta.get("start", 0))
    return tuple(dict.fromkeys(column_name(column) for column in found))


def _size(node: Node) -> int:
    count, todo = 0, [node]
    while todo:
        at = todo.pop()
        count += not isinstance(at, Literal)
        todo.extend(children(at))
    return count
