"""The project's feature views are brought into the online store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import duckdb
import msgspec

from fivefold.core.features import FeatureView, chosen
from fivefold.core.learning import Model
from fivefold.core.project import Project
from fivefold.core.sources import rows_of
from fivefold.core.time import instant, iso
from fivefold.core.types import Schema
from fivefold.data.duck import parquet
from fivefold.features.materialise import Materialised, materialise
from fivefold.flow.steps import steps_of
from fivefold.ports.online import OnlineStore
from fivefold.workspace import Workspace
from fivefold.workspace.applied import require_applied
from fivefold.workspace.served import CHAMPION, Meaning, meaning, online_name

Progress = Callable[[str, int, int], None]


class Wanted(msgspec.Struct, frozen=True):
    """A view to materialise, under one meaning of it: the project file's, or that of a version that is champion."""

    name: str
    view: FeatureView
    project: Project
    schemas: Mapping[str, Schema]
    scales: Mapping[str, Mapping[str, int]]


def materialise_views(
    workspace: Workspace, names: list[str], at: int, *, progress: Progress | None = None
) -> list[Materialised]:
    """Materialise the named views (all that models use, when none is named) as of `at`, microseconds UTC.

    A champion that was trained under an older meaning of a view keeps its own values beside the new ones, as long as
    the source of the view still means the same. Values that no champion and no declaration needs are dropped. Raises
    NotFound for an unknown view, Conflict when the project file has changes to the views that are not applied.
    """
    for name in names:
        workspace.project.get(FeatureView.kind, name)
    wanted = _wanted(workspace)
    work = f"materialize:{workspace.clock()}"
    out: list[Materialised] = []
    store = workspace.online()
    try:
        with workspace.database() as connection, steps_of(workspace.catalog.journal, work, "materialize") as steps:
            for one in wanted:
                if not names or one.view.name in names:
                    # the journal remembers durations under the view's own name: those of its present meaning
                    step = one.view.name if one.project is workspace.project else one.name
                    steps.run(step, partial(_one, workspace, connection, store, one, at, out, progress))
        if not names:
            for stale in set(store.spaces()) - {one.name for one in wanted} - _kept(workspace):
                store.drop(stale)
    finally:
        store.close()
    return out


def newest_event(workspace: Workspace, name: str) -> str | None:
    """The newest event time (ISO 8601) of a feature view's source, None when it has no row."""
    view = workspace.project.get(FeatureView.kind, name)
    assert isinstance(view, FeatureView)
    source = rows_of(view.source)
    assert source.time is not None
    seen = [p.profile[source.time].greatest for p in workspace.snapshot(source.name).parts if source.time in p.profile]
    newest = max((s for s in seen if s is not None), default=None)
    return None if newest is None else iso(instant(newest))


def _one(
    workspace: Workspace,
    connection: duckdb.DuckDBPyConnection,
    store: OnlineStore,
    one: Wanted,
    at: int,
    out: list[Materialised],
    progress: Progress | None,
) -> None:
    source = rows_of(one.view.source).name
    out.append(
        materialise(
            connection,
            store,
            one.name,
            one.view,
            at=at,
            meaning=one.project.closure_digests[one.view.ref],
            snapshot=workspace.snapshot(source).digest,
            schemas=one.schemas,
            scales=one.scales,
            relation=lambda name: parquet(workspace.snapshot(name).files(workspace.places.tables)),
            threads=workspace.env.threads,
            progress=progress,
        )
    )


def _kept(workspace: Workspace) -> set[str]:
    """Names of all that champions read, also where it can no longer be made anew."""
    return {old.online_name(view) for old in _champions(workspace) for view in old.views}


def _champions(workspace: Workspace) -> list[Meaning]:
    return [
        meaning(workspace, workspace.catalog.versions.get(model, number))
        for (model, alias), number in workspace.catalog.aliases.all().items()
        if alias == CHAMPION and f"{Model.kind}:{model}" in workspace.project.nouns
    ]


def _wanted(workspace: Workspace) -> list[Wanted]:
    """Every view under every meaning that is in use, once."""
    found: dict[str, Wanted] = {}
    current = workspace.project
    used = {v.ref: v for m in current.of(Model.kind) if isinstance(m, Model) for v, _ in chosen(m.features).values()}
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
