"""A plan is carried out: sources are read, views derived, scales pinned, definitions recorded."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fivefold.catalog.definitions import Change
from fivefold.catalog.lineage import Thing
from fivefold.core.canonical import Json
from fivefold.core.errors import Conflict
from fivefold.core.features import FeatureView
from fivefold.core.lineage import column_lineage
from fivefold.core.noun import definition, noun_digest
from fivefold.core.sources import Table, View
from fivefold.core.types import Schema, Type
from fivefold.core.uses import BatchJob
from fivefold.data.archive import with_archives
from fivefold.data.derive import derive
from fivefold.data.ingest import Progress, ingest
from fivefold.data.snapshots import Snapshot
from fivefold.features.scales import choose_scale, fits, summed_columns
from fivefold.flow.steps import steps_of
from fivefold.mlops.plan import Checked, Plan
from fivefold.workspace import Workspace
from fivefold.workspace.events import archives_of

_ATTEMPTS = 50


class SourceReport(msgspec.Struct, frozen=True):
    """What came of reading or deriving one source."""

    ref: str
    parts: int
    new_parts: int
    rows: int
    quarantined: int
    warnings: Mapping[str, int]


class Outcome(msgspec.Struct, frozen=True):
    """What an apply did."""

    revision: int
    changed: tuple[str, ...]
    sources: tuple[SourceReport, ...]


def apply(workspace: Workspace, checked: Checked, planned: Plan, *, progress: Progress | None = None) -> Outcome:
    """Read what is new of every source, then record the definitions, if nobody applied since `planned` was made.

    Doing it again does nothing new. Raises Conflict when somebody else applied meanwhile, Invalid when data breaks a
    check that fails: then nothing is recorded, and what was read stays as it was.
    """
    snapshots, reports = _read(workspace, checked, progress)
    definitions = workspace.catalog.definitions
    changes = [Change(n.kind, n.name, definition(n), noun_digest(n)) for n in workspace.project.nouns.values()]
    changes += [Change(*i.ref.split(":", 1)) for i in planned.items if i.change == "removed"]
    done = definitions.apply(changes, expected_revision=planned.revision, actor=workspace.actor)
    for snapshot in snapshots.values():
        _record(workspace, snapshot)
    for source, scales in _scales(workspace, snapshots).items():
        kind = next(n.kind for n in workspace.project.of("table", "view") if n.name == source)
        definitions.pin(kind, source, {"scales": scales}, actor=workspace.actor)
    workspace.catalog.lineage.link(
        _edges(workspace, {n: s.schema for n, s in snapshots.items()}), actor=workspace.actor
    )
    return Outcome(done.number, tuple(f"{k}:{n}" for k, n in done.changed), tuple(reports))


def _read(
    workspace: Workspace, checked: Checked, progress: Progress | None
) -> tuple[dict[str, Snapshot], list[SourceReport]]:
    snapshots: dict[str, Snapshot] = {}
    reports = []
    written = {j.into.name for j in workspace.project.of(BatchJob.kind) if isinstance(j, BatchJob)}
    ranges = _ranges(workspace, checked.schemas)
    now = workspace.clock()
    work = f"apply:{now}:{workspace.project.digest[:12]}"
    with workspace.database() as connection, steps_of(workspace.catalog.journal, work, "apply") as steps:
        for noun in workspace.project.of(Table.kind, View.kind):
            if noun.name in written:
                continue
            before = checked.snapshots.get(noun.name) or workspace.find_snapshot(noun.name)

            def one(noun: Table | View = noun, before: Snapshot | None = before) -> Json:  # type: ignore[assignment]
                if isinstance(noun, Table):
                    made = ingest(
                        connection,
                        noun,
                        workspace.reader(noun),
                        workspace.places,
                        now=now,
                        schema=checked.schemas[noun.name],
                        before=before,
                        ranges=ranges.get(noun.name, {}),
                        progress=progress,
                    )
                else:
                    made = derive(
                        connection,
                        noun,
                        snapshots,
                        workspace.places,
                        now=now,
                        before=before,
                        ranges=ranges.get(noun.name, {}),
                        progress=progress,
                    )
                snapshots[noun.name] = with_archives(
                    connection, made, archives_of(workspace, noun.name), before, workspace.places
                )
                return snapshots[noun.name].digest

            steps.run(noun.ref, one)
            reports.append(_report(noun.ref, snapshots[noun.name], before))
    return snapshots, reports


def _record(workspace: Workspace, made: Snapshot) -> None:
    """Record what was read, with all that streams brought by now."""
    archives = archives_of(workspace, made.source)
    for _ in range(_ATTEMPTS):
        latest = workspace.find_snapshot(made.source)
        if archives:
            with workspace.database() as connection:
                archives = archives_of(workspace, made.source)
                made = with_archives(connection, made, archives, latest, workspace.places)
        try:
            workspace.catalog.snapshots.record(
                made.source,
                made.digest,
                msgspec.to_builtins(made),
                actor=workspace.actor,
                follows=latest.digest if latest else "",
            )
            return
        except Conflict:
            continue  # an archiver was faster
    raise Conflict(f"the snapshot of {made.source!r} changes all the time.", hint="Apply again.")


def _report(ref: str, made: Snapshot, before: Snapshot | None) -> SourceReport:
    known = {p.fingerprint for p in before.parts} if before else set()
    warnings: dict[str, int] = {}
    for part in made.parts:
        for name, count in part.warnings.items():
            warnings[name] = warnings.get(name, 0) + count
    return SourceReport(
        ref, len(made.parts), sum(p.fingerprint not in known for p in made.parts), made.rows, made.quarantined, warnings
    )


def _views(workspace: Workspace) -> list[FeatureView]:
    return [v for v in workspace.project.of(FeatureView.kind) if isinstance(v, FeatureView)]


def _ranges(workspace: Workspace, schemas: Mapping[str, Schema]) -> dict[str, dict[str, float]]:
    """By source and summed column, the magnitude from which on a value does not fit: its row is quarantined.

    Before the scale of a float column is pinned only infinities do not fit.
    """
    pinned = workspace.scales()
    out: dict[str, dict[str, float]] = {}
    for source, columns in summed_columns(_views(workspace), schemas).items():
        scales = {c: 0 if kind is Type.INT64 else pinned.get(source, {}).get(c) for c, kind in columns.items()}
        out[source] = {c: float("inf") if s is None else fits(s) for c, s in scales.items()}
    return out


def _scales(workspace: Workspace, snapshots: Mapping[str, Snapshot]) -> dict[str, dict[str, int]]:
    """Scales of summed float columns that have none yet, chosen from what was read."""
    pinned = workspace.scales()
    schemas = {name: s.schema for name, s in snapshots.items()}
    out: dict[str, dict[str, int]] = {}
    for source, columns in summed_columns(_views(workspace), schemas).items():
        fresh = {
            c: choose_scale(snapshots[source].magnitude(c))
            for c, kind in sorted(columns.items())
            if kind is Type.FLOAT64 and c not in pinned.get(source, {})
        }
        if fresh:
            out[source] = {**pinned.get(source, {}), **fresh}
    return out


def _edges(workspace: Workspace, schemas: Mapping[str, Schema]) -> list[tuple[Thing, Thing, str]]:
    """Lineage of declarations, and of the columns of views."""
    edges = []
    for ref, upstream in workspace.project.upstream.items():
        kind, name = ref.split(":", 1)
        edges += [(Thing(*up.split(":", 1)), Thing(kind, name), "feeds") for up in upstream]
    for view in workspace.project.of(View.kind):
        assert isinstance(view, View)
        for column, made_of in column_lineage(view.sql, schemas, view.ref).items():
            edges += [
                (Thing("column", f"{c.source}.{c.column}"), Thing("column", f"{view.name}.{column}"), "derives")
                for c in sorted(made_of)
            ]
    return edges
