"""The project's feature views are brought into the online store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import duckdb
import msgspec

from fivefold.core.errors import Conflict
from fivefold.core.features import FeatureView
from fivefold.core.sources import Stream, rows_of
from fivefold.core.time import instant, iso
from fivefold.data.archive import archived
from fivefold.data.duck import parquet
from fivefold.data.snapshots import Snapshot
from fivefold.features.increment import Part, Parts
from fivefold.features.materialise import Cut, Materialised, materialise
from fivefold.features.state.mark import Mark, mark_of, view_of
from fivefold.features.stream import catch_up, fed
from fivefold.flow.steps import steps_of
from fivefold.ports.online import OnlineStore
from fivefold.workspace import Workspace
from fivefold.workspace.events import events_after, without_past
from fivefold.workspace.wanted import Wanted, kept_names, wanted_views

Progress = Callable[[str, int, int], None]


def materialise_views(
    workspace: Workspace, names: list[str], at: int, *, progress: Progress | None = None
) -> list[Materialised]:
    """Materialise the named views (all, when none is named) as of `at`, microseconds UTC.

    A champion that was trained under an older meaning of a view keeps its own values beside the new ones, as long as
    the source of the view still means the same. Values that no champion and no declaration needs are dropped. Raises
    NotFound for an unknown view, Conflict when the project file has changes to the views that are not applied.
    """
    for name in names:
        workspace.project.get(FeatureView.kind, name)
    wanted = wanted_views(workspace)
    store = workspace.online()
    try:
        out = _materialise(workspace, store, [w for w in wanted if not names or w.view.name in names], at, progress)
        if not names:
            kept = {one.name for one in wanted} | kept_names(workspace)
            for space in store.spaces():
                if "@" in view_of(space) and view_of(space) not in kept:
                    store.drop(space)
    finally:
        store.close()
    return out


def materialise_missing(workspace: Workspace, at: int, *, progress: Progress | None = None) -> list[Materialised]:
    """Materialise the views that streams feed and of which the store holds nothing yet, as of `at`."""
    store = workspace.online()
    try:
        missing = [
            one
            for one in wanted_views(workspace)
            if isinstance(one.view.source, Stream) and mark_of(store, one.name) is None
        ]
        return _materialise(workspace, store, missing, at, progress) if missing else []
    finally:
        store.close()


def _materialise(
    workspace: Workspace, store: OnlineStore, wanted: list[Wanted], at: int, progress: Progress | None
) -> list[Materialised]:
    work = f"materialize:{workspace.clock()}"
    out: list[Materialised] = []
    with workspace.database() as connection, steps_of(workspace.catalog.journal, work, "materialize") as steps:
        for one in wanted:
            # the journal remembers durations under the view's own name: those of its present meaning
            step = one.view.name if one.project is workspace.project else one.name
            steps.run(step, partial(_one, workspace, connection, store, one, at, out, progress))
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
    snapshot = workspace.snapshot(source)
    files = snapshot.files(workspace.places.tables)

    def parts_of(earlier: str) -> list[str]:
        held = msgspec.convert(workspace.catalog.snapshots.get(source, earlier).parts, Snapshot)
        return [part.digest for part in held.parts]

    cut = _cut(workspace, one.view.source, snapshot) if isinstance(one.view.source, Stream) else None
    out.append(
        materialise(
            connection,
            store,
            one.name,
            one.view,
            at=at,
            meaning=one.project.closure_digests[one.view.ref],
            snapshot=snapshot.digest,
            schemas=one.schemas,
            scales=one.scales,
            # the very snapshot that the cut is of: an archiver may record the next one at any time
            relation=lambda name: parquet(files),
            parts=Parts([Part(p.digest, p.rows, f) for p, f in zip(snapshot.parts, files, strict=True)], parts_of),
            cut=cut,
            before_switch=partial(_catch_up, workspace, store, one),
            threads=workspace.env.threads,
            progress=progress,
        )
    )


def _cut(workspace: Workspace, stream: Stream, history: Snapshot) -> Cut:
    """Where a stream goes on behind what its history holds of it."""
    broker = workspace.broker(stream)
    try:
        offsets = dict.fromkeys(range(broker.partitions()), -1)
    finally:
        broker.close()
    return Cut(stream.name, {**offsets, **archived(history, stream.name)})


def _catch_up(workspace: Workspace, store: OnlineStore, one: Wanted, mark: Mark) -> None:
    """Feed a new generation what the stream brought since its past was made; a running worker does the rest."""
    stream = one.view.source
    assert isinstance(stream, Stream)
    view = fed(one.name, one.view, one.schemas, one.scales, partial(without_past, workspace, stream))
    for partition, cut in mark.cut.items():
        events = events_after(workspace, store, stream, partition, cut)
        try:
            catch_up(store, view, mark, partition, events)
        except Conflict:
            continue  # a worker has found it, and goes on with it
