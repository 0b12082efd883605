"""What there is: declarations, and everything that was done with them, as plain rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fivefold.core.errors import NotFound
from fivefold.core.noun import definition, noun_digest
from fivefold.core.time import iso, moment
from fivefold.core.types import Type
from fivefold.data.infer import FEW, propose
from fivefold.data.snapshots import quarantine_file
from fivefold.workspace import Workspace

Row = dict[str, Any]

NOUNS = (
    "table",
    "view",
    "stream",
    "documents",
    "entity",
    "feature_view",
    "request",
    "derived",
    "udf",
    "model",
    "endpoint",
    "batch_job",
    "federation",
)


def rows_of_kind(workspace: Workspace, kind: str, limit: int) -> list[Row]:
    """Rows of one kind, the newest first. Raises NotFound with the nearest kind."""
    kind = kind.lower().replace("-", "_")
    singular = kind if kind in (*NOUNS, *_DONE) else kind.removesuffix("s")
    singular = {"entitie": "entity", "aliase": "alias"}.get(singular, singular)
    if singular in NOUNS:
        return _nouns(workspace, singular)[:limit]
    if singular not in _DONE:
        raise NotFound.named("kind", kind, [*NOUNS, *_DONE])
    return _DONE[singular](workspace, limit)


def _nouns(workspace: Workspace, kind: str) -> list[Row]:
    applied = workspace.catalog.definitions.applied()
    rows = []
    for noun in workspace.project.of(kind):
        known = applied.get((noun.kind, noun.name))
        state = "not applied" if known is None else "applied" if known.digest == noun_digest(noun) else "changed"
        rows.append(
            {
                "name": noun.name,
                "state": state,
                "digest": noun_digest(noun)[:12],
                "stands_on": ", ".join(workspace.project.upstream[noun.ref]) or None,
                "definition": definition(noun),
            }
        )
    return rows


def _runs(workspace: Workspace, limit: int) -> list[Row]:
    page = workspace.catalog.search.runs(limit=limit)
    return [
        {
            "id": r.id,
            "kind": r.kind,
            "name": r.name,
            "status": r.status,
            "started": iso(r.started_at),
            "seconds": None if r.ended_at is None else round((r.ended_at - r.started_at) / 1e6, 2),
            "by": r.actor,
            "error": r.error or None,
            "params": r.params,
            "metrics": {k: m.value for k, m in r.metrics.items()},
            "tags": r.tags,
        }
        for r in page.runs
    ]


def _versions(workspace: Workspace, limit: int) -> list[Row]:
    champions = workspace.catalog.aliases.all()
    return [
        {
            "model": v.model,
            "version": v.number,
            "key": v.key[:12],
            "made": iso(v.created_at),
            "by": v.actor,
            "run": v.run_id,
            "aliases": ", ".join(a for (m, a), n in champions.items() if (m, n) == (v.model, v.number)) or None,
            "info": v.info,
        }
        for v in workspace.catalog.versions.list(limit=limit)
    ]


def _jobs(workspace: Workspace, limit: int) -> list[Row]:
    return [
        {
            "id": w.id,
            "kind": w.kind,
            "status": w.status,
            "begun": iso(w.begun_at),
            "ended": None if w.ended_at is None else iso(w.ended_at),
            "error": w.error or None,
        }
        for w in workspace.catalog.journal.works(limit=limit)
    ]


def _aliases(workspace: Workspace, limit: int) -> list[Row]:
    return [{"model": m, "alias": a, "version": n} for (m, a), n in workspace.catalog.aliases.all().items()][:limit]


def _snapshots(workspace: Workspace, limit: int) -> list[Row]:
    rows = []
    for noun in workspace.project.of("table", "view"):
        found = workspace.find_snapshot(noun.name)
        if found is not None:
            rows.append(
                {
                    "source": noun.ref,
                    "rows": found.rows,
                    "parts": len(found.parts),
                    "quarantined": found.quarantined,
                    "digest": found.digest[:12],
                    "columns": {c: k.value for c, k in found.schema.items()},
                }
            )
    return rows[:limit]


def _audit(workspace: Workspace, limit: int) -> list[Row]:
    return [
        {
            "at": iso(e.at),
            "by": e.actor,
            "action": e.action,
            "subject": e.subject,
            "before": (e.before or "")[:12] or None,
            "after": (e.after or "")[:12] or None,
        }
        for e in workspace.catalog.audit.log(limit=limit)
    ]


def _predictions(workspace: Workspace, limit: int) -> list[Row]:
    from fivefold.workspace.predictions import read_predictions

    return [
        {
            **p,
            "at": iso(p["at"]),
            "key": p["key"][:12],
            "as_of": moment(p["as_of"]),
            "features": {
                n: {"value": v, "event_time": None if t is None else iso(t), "status": s}
                for n, (v, t, s) in p["features"].items()
            },
        }
        for p in read_predictions(workspace.state, limit)
    ]


_DONE: dict[str, Callable[[Workspace, int], list[Row]]] = {
    "run": _runs,
    "version": _versions,
    "job": _jobs,
    "alias": _aliases,
    "snapshot": _snapshots,
    "audit": _audit,
    "prediction": _predictions,
}


def proposed_checks(workspace: Workspace, source: str) -> list[str]:
    """Checks that the data of a source satisfies, as lines of Python."""
    snapshot = workspace.snapshot(source)
    values: dict[str, list[str]] = {}
    texts = [c for c, k in snapshot.schema.items() if k is Type.STRING]
    if texts and snapshot.parts:
        files = snapshot.files(workspace.places.tables)
        for column in texts:
            different: pa.ChunkedArray = pa.chunked_array(
                [pc.unique(pq.read_table(f, columns=[column])[column]) for f in files], pa.string()
            )
            found = sorted(v for v in different.unique().to_pylist() if v is not None)
            if 0 < len(found) <= FEW:
                values[column] = found
    return propose(snapshot, values)


def quarantined_rows(workspace: Workspace, source: str, limit: int) -> list[Row]:
    """Rows of a source that checks set aside, with origin, reasons and original values."""
    snapshot = workspace.snapshot(source)
    rows: list[Row] = []
    for part in snapshot.parts:
        if part.quarantine and len(rows) < limit:
            found = pq.read_table(quarantine_file(workspace.places.tables, source, part.quarantine))
            rows += [{**r, "original": msgspec.json.decode(r["original"])} for r in found.slice(0, limit).to_pylist()]
    return rows[:limit]
