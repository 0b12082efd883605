"""Federations as they stand in a file: a table for each, with the fields of `Plan` and the `rule` that makes a state of
its sums, as `file.py:name` beside the file."""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fivefold.core.errors import Invalid, NotFound
from fivefold.federated.rounds.coordinator import Rule
from fivefold.federated.rounds.manifest import Plan


def read_plans(path: Path) -> dict[str, tuple[Plan, Rule]]:
    """The federations of a file. Raises NotFound without the file, and Invalid, naming the table, for what is wrong."""
    try:
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"no file {path}.", hint="`fivefold federate server --help` has an example.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise Invalid(f"{path} is not TOML: {wrong}.") from None
    if not tables:
        raise Invalid(f"{path} has no federation.", hint="Write a table for each: [carriers].")
    return {name: _federation(path, name, table) for name, table in tables.items()}


def load(reference: str, folder: Path) -> Any:
    """What `file.py:name` names, relative to a folder; a class is called without arguments. This runs the file.

    Raises Invalid for another form, NotFound for a file or a name that is not there.
    """
    file, colon, name = reference.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise Invalid(f"{reference!r} does not name anything (accepted: file.py:name).")
    path = folder / file
    if not path.is_file():
        raise NotFound(f"no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        found = getattr(module, name)
    except AttributeError:
        raise NotFound.named(f"name in {file}", name, [n for n in vars(module) if not n.startswith("_")]) from None
    return found() if isinstance(found, type) else found


def _federation(path: Path, name: str, table: Any) -> tuple[Plan, Rule]:
    if not isinstance(table, Mapping) or not isinstance(table.get("rule"), str):
        raise Invalid(f"{path}: [{name}] has no rule.", hint='Write rule = "file.py:name".')
    fields = {field: value for field, value in table.items() if field != "rule"}
    unknown = sorted(set(fields) - set(Plan.__struct_fields__) | {"task"} & set(fields))
    if unknown:
        raise Invalid(
            f"{path}: [{name}] has fields that are not known: {', '.join(unknown)}.",
            hint=f"Known are rule, {', '.join(f for f in Plan.__struct_fields__ if f != 'task')}.",
        )
    try:
        plan = msgspec.convert({**fields, "task": name}, Plan)
    except msgspec.ValidationError as wrong:
        raise Invalid(f"{path}: [{name}] is not accepted: {wrong}.") from None
    rule: Rule = load(table["rule"], path.parent)
    return plan, rule
