"""What applying a project would change, what stands on it, and what rebuilding that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fivefold.catalog.definitions import Applied
from fivefold.core import wiring
from fivefold.core.canonical import Json
from fivefold.core.errors import FivefoldError, Several
from fivefold.core.features import FeatureView
from fivefold.core.learning import Model
from fivefold.core.noun import Noun, definition, noun_digest
from fivefold.core.project import Project
from fivefold.core.sources import Table, View
from fivefold.core.types import Schema
from fivefold.core.uses import BatchJob, Endpoint
from fivefold.data.ingest import new_partitions
from fivefold.data.schemas import inspect
from fivefold.data.snapshots import Snapshot
from fivefold.lifecycle.inputs import meaning
from fivefold.workspace import Workspace


class FieldChange(msgspec.Struct, frozen=True):
    """A field of a declaration as applied, and as it stands in the project file."""

    field: str
    old: Json
    new: Json


class Item(msgspec.Struct, frozen=True):
    """One declaration: added, changed or removed."""

    ref: str
    change: str
    fields: tuple[FieldChange, ...] = ()


class Rebuild(msgspec.Struct, frozen=True):
    """Something that stands on a change: what rebuilding it means, the command, the rows, and how long it took last."""

    ref: str
    because: tuple[str, ...]
    action: str
    command: str
    rows: int | None = None
    seconds: float | None = None


class NewData(msgspec.Struct, frozen=True):
    """Partitions of a table that are new or changed since it was last read, and those that are gone."""

    ref: str
    new: int
    gone: int


class Plan(msgspec.Struct, frozen=True):
    """The difference between a project file and what is applied in an environment."""

    env: str
    revision: int
    items: tuple[Item, ...]
    rebuilds: tuple[Rebuild, ...]
    data: tuple[NewData, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.items


class Checked(msgspec.Struct, frozen=True):
    """A project whose wiring is sound: the columns of each source, and what was last read of it."""

    schemas: Mapping[str, Schema]
    snapshots: Mapping[str, Snapshot]


def check(workspace: Workspace) -> Checked:
    """Look at every source and check the wiring. Raises Several with every mistake found, before any work."""
    before = {}
    applied = workspace.catalog.definitions.applied()
    for noun in workspace.project.of("table", "view"):
        known = applied.get((noun.kind, noun.name))
        found = workspace.find_snapshot(noun.name)
        # a schema that was chosen at the first read holds as long as the declaration does
        if found is not None and known is not None and known.digest == noun_digest(noun):
            before[noun.name] = found
    written = frozenset(j.into.name for j in workspace.project.of(BatchJob.kind) if isinstance(j, BatchJob))
    with workspace.database() as connection:
        schemas, errors = inspect(connection, workspace.project, workspace.reader, before, workspace.places, written)
    try:
        wiring.check(workspace.project, schemas)
    except Several as e:
        errors = [*errors, *e.errors]
    if errors:
        raise Several(_once(errors))
    return Checked(schemas, before)


def plan(workspace: Workspace) -> Plan:
    """The plan for a project whose wiring is sound; call `check` first."""
    project = workspace.project
    definitions = workspace.catalog.definitions
    revision = definitions.revision()
    applied = definitions.applied()
    items = [*_added_and_changed(project, applied), *_removed(project, applied)]
    changed = [i.ref for i in items if i.change != "removed"]
    touched = {*changed, *project.downstream(changed)}
    fresh = {i.ref for i in items if i.change == "added"}
    rebuilds = [
        r
        for ref in project.nouns
        if ref in touched
        for r in _rebuild(workspace, project.nouns[ref], _causes(project, ref, set(changed)), ref in fresh)
    ]
    return Plan(workspace.env.name, revision, tuple(items), tuple(rebuilds), tuple(_new_data(workspace, set(changed))))


def _new_data(workspace: Workspace, changed: set[str]) -> Iterator[NewData]:
    """Tables that were read before, and hold something else now; a database cannot tell without being read."""
    for noun in workspace.project.of(Table.kind):
        before = workspace.find_snapshot(noun.name)
        assert isinstance(noun, Table)
        if before is not None and noun.ref not in changed and not noun.url.startswith("postgres"):
            new, gone = new_partitions(noun, workspace.reader(noun), before.schema, before)
            if new or gone:
                yield NewData(noun.ref, new, gone)


def _added_and_changed(project: Project, applied: Mapping[tuple[str, str], Applied]) -> list[Item]:
    items = []
    for ref, noun in project.nouns.items():
        known = applied.get((noun.kind, noun.name))
        if known is None:
            items.append(Item(ref, "added"))
        elif known.digest != noun_digest(noun):
            items.append(Item(ref, "changed", tuple(_fields(known.value, definition(noun)))))
    return items


def _removed(project: Project, applied: Mapping[tuple[str, str], Applied]) -> list[Item]:
    return [Item(f"{kind}:{name}", "removed") for kind, name in applied if f"{kind}:{name}" not in project.nouns]


def _fields(old: Any, new: Any, path: str = "") -> list[FieldChange]:
    """The deepest fields in which two definitions differ; lists of one length are compared item by item."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            change
            for key in [*new, *(k for k in old if k not in new)]
            for change in _fields(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) != len(new):
        gone, come = [v for v in old if v not in new], [v for v in new if v not in old]
        return [FieldChange(path, gone or None, come or None)]
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return [c for i, (a, b) in enumerate(zip(old, new, strict=True)) for c in _fields(a, b, f"{path}[{i}]")]
    same = old == new and isinstance(old, bool) == isinstance(new, bool)
    return [] if same else [FieldChange(path, old, new)]


def _causes(project: Project, ref: str, changed: set[str]) -> tuple[str, ...]:
    """The changed declarations that something stands on."""
    return tuple(c for c in changed if c == ref or ref in project.downstream([c]))


def _rebuild(workspace: Workspace, noun: Noun, because: tuple[str, ...], fresh: bool) -> list[Rebuild]:
    catalog = workspace.catalog
    match noun:
        case View():
            found = workspace.find_snapshot(noun.name)
            return [
                Rebuild(
                    noun.ref,
                    because,
                    "derive",
                    "fivefold apply",
                    found.rows if found else None,
                    _last(workspace, "apply", noun.ref),
                )
            ]
        case FeatureView():
            return (
                []
                if fresh
                else [
                    Rebuild(
                        noun.ref,
                        because,
                        "materialize again",
                        f"fivefold materialize {noun.name}",
                        None,
                        _last(workspace, "materialize", noun.name),
                    )
                ]
            )
        case Model():
            versions = catalog.versions.list(noun.name, limit=1)
            if not versions:
                return [Rebuild(noun.ref, because, "train", f"fivefold train {noun.name}")]
            info: Any = versions[0].info
            if info["inputs"]["model"] == meaning(workspace, noun):
                # only its gates changed, and they judge a version without making it
                return [Rebuild(noun.ref, because, "judge the newest version again", f"fivefold promote {noun.name}")]
            rows, seconds = info["rows"]["train"], info["seconds"]
            return [Rebuild(noun.ref, because, "train a new version", f"fivefold train {noun.name}", rows, seconds)]
        case Endpoint():
            held = {m.name: catalog.aliases.current(m.name, "champion") for m in noun.models}
            return [
                Rebuild(
                    noun.ref,
                    because,
                    f"goes on serving {model}@{version} until a new version is promoted",
                    f"fivefold train {model}",
                )
                for model, version in held.items()
                if version is not None and (len(held) == 1 or set(because) & _stands_on(workspace, model))
            ]
        case BatchJob():
            return (
                []
                if fresh
                else [
                    Rebuild(
                        noun.ref,
                        because,
                        "score again once a new version is champion",
                        f"fivefold score {noun.name}",
                        None,
                        _last(workspace, "score", noun.name),
                    )
                ]
            )
    return []


def _stands_on(workspace: Workspace, model: str) -> set[str]:
    return set(workspace.project.closure([f"{Model.kind}:{model}"]))


def _last(workspace: Workspace, kind: str, step: str) -> float | None:
    """Seconds a step of this kind took the last time, from the journal."""
    took = workspace.catalog.journal.durations(kind, step, limit=1)
    return took[0] / 1e6 if took else None


def _once(errors: list[FivefoldError]) -> list[FivefoldError]:
    return list({str(e): e for e in errors}.values())
