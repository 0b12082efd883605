"""The model of a federation as a package, made where there are no rows, and registered as a version like any other."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.catalog.lineage import Thing
from fivefold.catalog.versions import Version
from fivefold.core.canonical import Json, digest
from fivefold.core.errors import Invalid
from fivefold.core.noun import definition
from fivefold.core.types import Schema, Type
from fivefold.federated.course.course import Course
from fivefold.federated.course.measuring import NEW, rows_of_counts
from fivefold.federated.course.progress import Progress
from fivefold.lifecycle.inputs import environment_lock, meaning, read_by
from fivefold.lifecycle.judge import Judged, Verdict, judged_table
from fivefold.lifecycle.release import CHAMPION
from fivefold.models.gates import Decision, judge
from fivefold.models.metrics import DEFAULT_METRICS, score
from fivefold.models.package import FeatureInfo, write_package
from fivefold.ports.blobs import put_blob
from fivefold.ports.trees import put_tree
from fivefold.workspace import Workspace
from fivefold.workspace.served import package_folder, served

SAMPLE = 200
"""Rows on which predictors are compared, drawn by what the columns are like: there are no others."""


def package_files(scratch: Path, course: Course, progress: Progress) -> dict[str, bytes]:
    """The files of the package of a trained model, made in a scratch folder. Raises Invalid before the first round."""
    fitted, model = course.fitted(progress), course.federation.model
    if fitted is None:
        raise Invalid(f"{course.federation.ref} has no model yet.")
    key = version_key(course, progress)
    folder = scratch / f"federation-{key[:24]}"
    shutil.rmtree(folder, ignore_errors=True)
    sample = _sample(course, progress)
    names, types = course.encoding.names, course.encoding.types
    write_package(
        folder,
        name=model.name,
        key=key,
        fitted=fitted,
        encoding=course.encoding,
        task=course.task,
        classes=None,
        features=[FeatureInfo(n, t.value) for n, t in zip(names, types, strict=True)],
        example=_table(course, sample[:5]),
        sample=sample,
        tolerance=model.tolerance,
        definition=definition(model),
        environment=environment_lock(course.federation.trained.kind),
    )
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    shutil.rmtree(folder)
    return files


def champion_files(workspace: Workspace, course: Course) -> dict[str, bytes]:
    """The package of the champion, which sites are to compare with; empty when there is none, no gate asks for it, or
    it needs features that the sites do not compute."""
    model = course.federation.model
    number = workspace.catalog.aliases.current(model.name, CHAMPION)
    if number is None or not any(gate.beats for gate in model.gates):
        return {}
    held = served(workspace, workspace.catalog.versions.get(model.name, number))
    if not set(held.loaded.encoding.names) <= set(course.encoding.names):
        return {}
    folder = package_folder(workspace, held.version)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def version_key(course: Course, progress: Progress) -> str:
    """A digest of what the model is: the declaration and what all sums came to."""
    found = course.fitted(progress)
    known = msgspec.structs.replace(progress.known, latest={}, stage="", spent=())
    written = msgspec.msgpack.encode(known) + b"".join(a.tobytes() for _, a in sorted(progress.sent.items()))
    params: Any = dict(found.params) if found else {}
    model = digest("noun", definition(course.federation.model))
    return digest("federated version", {"model": model, "state": digest("state", written.hex()), "params": params})


def register(
    workspace: Workspace,
    course: Course,
    progress: Progress,
    schemas: Mapping[str, Schema],
    lineage: Mapping[str, Json],
    *,
    seconds: float,
) -> tuple[Version, Verdict]:
    """Register what was trained as a version, and decide the model's gates by what was measured on the sites.

    `lineage` stands with the version: the run, its manifests, cohorts and what was spent.
    """
    model, key = course.federation.model, version_key(course, progress)
    files = {p.removeprefix(NEW): data for p, data in progress.files.items() if p.startswith(NEW)}
    files = files or package_files(workspace.places.scratch / "packages", course, progress)
    folder = workspace.places.scratch / "packages" / key
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    artifact = put_tree(workspace.artifacts, folder)
    about = msgspec.json.decode((folder / "fivefold.json").read_bytes())
    shutil.rmtree(folder)
    held = workspace.catalog.aliases.current(model.name, CHAMPION)
    verdict, metrics, judged_on, tested = _judged(workspace, course, progress, held)
    described = progress.known.described
    types = dict(zip(course.encoding.names, course.encoding.types, strict=True))
    scales = workspace.scales()
    closure = workspace.project.closure([model.ref])
    version = workspace.catalog.versions.register(
        model.name,
        key,
        artifact=artifact,
        actor=workspace.actor,
        info={
            "task": course.task.name,
            "classes": None,
            "format": about["format"],
            "predictor": about["predictor"],
            "rowwise": about["rowwise"],
            "deviation": about["deviation"],
            "metrics": metrics,
            "rows": {"train": described.total if described else 0, "test": tested, "purged": 0, "unlabelled": 0},
            "base_rate": None,
            "importance": {},
            "trials": [],
            "features": {n: t.value for n, t in types.items()},
            "seconds": seconds,
            "judged_on": judged_on,
            "inputs": {
                "model": meaning(workspace, model),
                "snapshots": {},
                "scales": {r.split(":", 1)[1]: dict(scales[r.split(":", 1)[1]]) for r in closure
                           if r.startswith(("table:", "view:")) and r.split(":", 1)[1] in scales},
                "environment": environment_lock(course.federation.trained.kind),
                "seed": model.seed,
                "threads": model.threads,
            },
            "closure": {r: definition(workspace.project.nouns[r]) for r in closure},
            "schemas": {n: {c: k.value for c, k in schemas[n].items()} for n in read_by(model)},
            "federation": {**lineage, "gates": msgspec.to_builtins(verdict)},
        },
    )  # fmt: skip
    me = Thing("version", f"{model.name}@{version.number}")
    edges = [(Thing("model", model.name), me, "declares"), (Thing("federation", course.federation.name), me, "made")]
    workspace.catalog.lineage.link(edges, actor=workspace.actor)
    return version, verdict


def _judged(
    workspace: Workspace, course: Course, progress: Progress, held: int | None
) -> tuple[Verdict, dict[str, Any], str | None, int]:
    """The gates' decisions, the metrics with their intervals, where the counted rows are kept, and how many these are.

    Raises nothing for what was not measured: its gates have not passed.
    """
    model = course.federation.model
    if progress.counts is None:
        why = "the model was not measured on the sites"
        return Verdict(False, (Decision({}, False, why),)), {}, None, 0
    every = rows_of_counts(course, progress)
    decisions: list[Decision] = []
    for gate in model.gates:
        rows = every if gate.segment is None else rows_of_counts(course, progress, gate.segment)
        if gate.beats and held is not None and rows.champion is None:
            said = f"{gate.metric}: the champion, version {held}, cannot be computed on the sites"
            decisions.append(Decision(msgspec.to_builtins(gate), False, said))
            continue
        decisions += judge(
            [gate],
            task=course.task,
            y=rows.y,
            p=rows.p,
            champion=rows.champion,
            segments=None if gate.segment is None or rows.segment is None else {gate.segment: rows.segment},
            seed=model.seed,
            against=held,
        )
    metrics = model.metrics or DEFAULT_METRICS[course.task.name]
    wanted = tuple(dict.fromkeys([*metrics, *(g.metric for g in model.gates)]))
    measured = score(course.task, every.y, every.p, wanted, seed=model.seed)
    # named after the model alone, so that nobody compares them row by row with rows that are really there
    names = [f"counted on sites {i}" for i in range(len(every.y))]
    sink = io.BytesIO()
    pq.write_table(judged_table(Judged(names, every.y, every.p, None, {})), sink, compression="zstd")
    kept = put_blob(workspace.artifacts, sink.getvalue()).digest
    told = {n: {"value": m.value, "low": m.low, "high": m.high} for n, m in measured.items()}
    return Verdict(all(d.passed for d in decisions), tuple(decisions)), told, kept, len(every.y)


def _sample(course: Course, progress: Progress) -> np.ndarray:
    """Rows `(SAMPLE, features)` as the columns are described, whole where the type is."""
    random, known = np.random.default_rng(0), progress.known
    width = len(course.levels)
    if known.growth is not None:
        means, scales = np.array(known.growth.mean[:width]), np.array(known.growth.deviation[:width])
    else:
        assert known.described is not None
        means, scales = np.array(known.described.columns.means), np.array(known.described.columns.scales)
    x: np.ndarray = random.normal(size=(SAMPLE, width)) * scales + means
    for i, (kind, levels) in enumerate(zip(course.encoding.types, course.levels, strict=True)):
        if levels >= 0:
            x[:, i] = random.integers(0, max(levels, 1), SAMPLE)
        elif kind is Type.INT64:
            x[:, i] = np.rint(x[:, i])
        elif kind is Type.BOOL:
            x[:, i] = x[:, i] > means[i]
    return x


def _table(course: Course, rows: np.ndarray) -> pa.Table:
    columns: dict[str, list[object]] = {}
    for i, (name, kind) in enumerate(zip(course.encoding.names, course.encoding.types, strict=True)):
        values: list[Any] = rows[:, i].tolist()
        match kind:
            case Type.STRING:
                values = [course.encoding.categories[name][int(v)] for v in values]
            case Type.INT64:
                values = [int(v) for v in values]
            case Type.BOOL:
                values = [bool(v) for v in values]
        columns[name] = values
    return pa.table(columns)
