"""A typed expression: literals, columns, calls of operations, and cases. Data only, so that it can be pickled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal as OneOf

from fivefold.core.types import Type

SLOT = re.compile(r"\{(s?)(\d+)\}|\{k\}")
"""What a template of an operation leaves open: arguments, constants and the prepared object."""

Value = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Operation:
    """One meaning for one choice of argument types, written once for DuckDB and once for Python.

    Templates name arguments `{0}`, `{1}` …, constants fixed by the text `{s0}` …, and, in Python, the object that
    `setup` builds once `{k}`. A strict operation is null when any argument is; its Python template sees only values.
    Inside SQL a NaN may stand for null on the way: `nan_in` says that NaN in gives NaN (or null) out, `nan_out` that
    a NaN may come out where there was none.
    """

    name: str
    takes: tuple[Type, ...]
    gives: Type
    sql: str
    python: str
    strict: bool = True
    never_null: bool = False
    check: OneOf["", "finite", "int64"] = ""
    partial: bool = False
    nan_in: bool = False
    nan_out: bool = False
    static: tuple[Value, ...] = ()
    setup: str = ""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; `type` is None for a null that has not met a type yet."""

    value: Value
    type: Type | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row, by its exact name."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Call:
    """An operation applied to its arguments, which have exactly the types it takes."""

    operation: Operation
    arguments: tuple[Node, ...]

    @property
    def type(self) -> Type:
        return self.operation.gives


@dataclass(frozen=True, slots=True)
class Case:
    """The value beside the first condition that is true, else `otherwise`."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node
    type: Type


Node = Literal | Column | Call | Case


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below, in the order of the text."""
    match node:
        case Call(arguments=arguments):
            return arguments
        case Case(branches=branches, otherwise=otherwise):
            return (*(part for branch in branches for part in branch), otherwise)
    return ()
