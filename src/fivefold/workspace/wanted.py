"""Which feature views the online store must hold, under every meaning of them that is in use."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fivefold.core.features import FeatureView
from fivefold.core.learning import Model
from fivefold.core.project import Project
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema
from fivefold.workspace.applied import require_applied
from fivefold.workspace.served import CHAMPION, Meaning, meaning, online_name
from fivefold.workspace.workspace import Workspace


class Wanted(msgspec.Struct, frozen=True):
    """A view to materialise, under one meaning of it: the project file's, or that of a version that is champion."""

    name: str
    view: FeatureView
    project: Project
    schemas: Mapping[str, Schema]
    scales: Mapping[str, Mapping[str, int]]


def kept_names(workspace: Workspace) -> set[str]:
    """Names of all that champions read, also where it can no longer be made anew."""
    return {old.online_name(view) for old in _champions(workspace) for view in old.views}


def _champions(workspace: Workspace) -> list[Meaning]:
    return [
        meaning(workspace, workspace.catalog.versions.get(model, number))
        for (model, alias), number in workspace.catalog.aliases.all().items()
        if alias == CHAMPION and f"{Model.kind}:{model}" in workspace.project.nouns
    ]


def wanted_views(workspace: Workspace) -> list[Wanted]:
    """Every declared view, and those of champions under an older meaning, once."""
    found: dict[str, Wanted] = {}
    current = workspace.project
    used = {v.ref: v for v in current.of(FeatureView.kind) if isinstance(v, FeatureView)}
    # what was read under another meaning of a source must not be stored under this one
    require_applied(workspace, list(used))
    schemas = {s.source: s.schema for n in current.of("table", "view") if (s := workspace.find_snapshot(n.name))}
    for view in used.values():
        name = online_name(current, view)
        found[name] = Wanted(name, view, current, schemas, workspace.scales())
    for old in _champions(workspace):
        for view in old.views:
            source, name = rows_of(view.source).ref, old.online_name(view)
            if current.closure_digests.get(source) == old.project.closure_digests[source]:
                require_applied(workspace, [source])
                found.setdefault(name, Wanted(name, view, old.project, old.schemas, old.scales))
    return list(found.values())
