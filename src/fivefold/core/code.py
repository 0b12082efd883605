"""Identity of code: a digest of what a function says, not of how it is laid out."""

from __future__ import annotations

import ast
import dis
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fivefold.core.canonical import Json, digest
from fivefold.core.errors import Invalid

PROJECT_MODULE = "fivefold_project_"
"""How the name under which a project file is imported begins."""

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def canonical_object(value: object) -> Json:
    """Canonical JSON of a Python object inside a declaration: a function, a class, or an estimator with `get_params`.

    Raises Invalid for anything whose content cannot be seen from outside.
    """
    if inspect.isfunction(value):
        return {"code": code_digest(value), "function": value.__qualname__}
    if inspect.isclass(value):
        return {"class": _qualified(value), "code": _class_digest(value)}
    if callable(getattr(value, "get_params", None)):
        params = value.get_params(deep=False)  # type: ignore[attr-defined]
        return {
            "class": _qualified(type(value)),
            "params": {k: _param(v) for k, v in params.items()},
        }
    raise Invalid(
        f"cannot digest a {type(value).__module__}.{type(value).__qualname__} in a declaration: {value!r}.",
        hint="Declare a function or class of the project file that makes it instead.",
    )


def _param(value: object) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value) if isinstance(value, float) and value != value else value
    if isinstance(value, list | tuple):
        return [_param(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _param(v) for k, v in value.items()}
    if hasattr(value, "__array__"):
        return repr(value.tolist())  # type: ignore[attr-defined]
    return canonical_object(value)


def code_digest(function: Callable[..., Any]) -> str:
    """Digest of a function: its normalised syntax tree, defaults, the constants it reads and the functions it calls.

    Comments, docstrings, annotations and layout do not count. Functions and plain constants of the same project are
    followed; what comes from an installed library counts by its qualified name.
    """
    return digest("code", _describe(function, seen={}))


def _describe(function: Callable[..., Any], seen: dict[int, int]) -> Json:
    if id(function) in seen:
        return {"recursion": seen[id(function)]}
    seen[id(function)] = len(seen)
    globals_: dict[str, Any] = getattr(function, "__globals__", {})
    closure = inspect.getclosurevars(function)
    names = {**closure.globals, **closure.nonlocals}
    code: types.CodeType = function.__code__
    for name in _nested_names(code):
        if name in globals_:
            names.setdefault(name, globals_[name])
    return {
        "tree": normalised(function),
        "defaults": [_outside(v, seen) for v in (getattr(function, "__defaults__", None) or ())],
        "reads": {name: _outside(value, seen) for name, value in sorted(names.items())},
    }


def _nested_names(code: types.CodeType) -> set[str]:
    found = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found |= _nested_names(const)
    return found


def _outside(value: object, seen: dict[int, int]) -> Json:
    if isinstance(value, types.ModuleType):
        return {"module": value.__name__}
    if inspect.isfunction(value):
        if _installed(value):
            return {"library": _qualified(value)}
        return _describe(value, seen)
    if inspect.isclass(value):
        return {
            "class": _qualified(value),
            "code": None if _installed(value) else _class_digest(value),
        }
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        return [_outside(v, seen) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(v) for v in value)
    if isinstance(value, Mapping):
        return {repr(k): _outside(v, seen) for k, v in value.items()}
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    return {"object": f"{getattr(value, '__module__', type(value).__module__)}.{name}"}


def _installed(thing: Any) -> bool:
    """Whether code belongs to Python or an installed library, rather than to the project."""
    if inspect.isfunction(thing):
        path = thing.__code__.co_filename
    else:
        path = getattr(sys.modules.get(thing.__module__), "__file__", None) or ""
    return path in ("", "<string>") or any(Path(path).is_relative_to(p) for p in _LIBRARIES)


def _qualified(thing: Any) -> str:
    """The dotted name of a function or class; where the project file lies does not count."""
    module = "project" if thing.__module__.startswith(PROJECT_MODULE) else thing.__module__
    return f"{module}.{thing.__qualname__}"


def _class_digest(cls: type) -> str:
    return digest("class", normalised(cls)) if not _installed(cls) else ""


def normalised(thing: Any) -> str:
    """The syntax tree of a function or class as text, without docstrings, annotations, decorators and positions."""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        raise Invalid(
            f"cannot read the source of {thing!r}.", hint="Define it in the project file, not at a prompt."
        ) from None
    try:
        tree: ast.AST = ast.parse(source)
    except SyntaxError:
        # a lambda inside a call: its line is not a statement of its own
        tree = _find_lambda(source, thing)
    if isinstance(tree, ast.Module) and getattr(thing, "__name__", "") == "<lambda>":
        tree = _find_lambda(source, thing)
    return ast.dump(_Strip().visit(tree), annotate_fields=False, include_attributes=False)


def _find_lambda(source: str, thing: Any) -> ast.AST:
    """The lambda's own tree, when its line can be read and holds exactly one."""
    for candidate in (source, source.strip().rstrip(","), "(" + source.strip().rstrip(",") + ")"):
        try:
            found = [n for n in ast.walk(ast.parse(candidate)) if isinstance(n, ast.Lambda)]
        except SyntaxError:
            continue
        if len(found) == 1:
            return found[0]
    raise Invalid(
        f"cannot tell the source of the lambda at line {thing.__code__.co_firstlineno} apart.",
        hint="Write it as a named function.",
    )


class _Strip(ast.NodeTransformer):
    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        node.decorator_list = []
        node.body = _without_docstring(node.body)
        return node

    visit_FunctionDef = _function
    visit_AsyncFunctionDef = _function

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = _without_docstring(node.body)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return node
        return ast.Assign(targets=[node.target], value=node.value)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:] or [ast.Pass()]
    return body
