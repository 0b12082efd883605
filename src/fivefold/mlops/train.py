"""Training: from what is applied to a registered version, in durable steps; the same inputs give the same version."""

from __future__ import annotations

import io
import itertools
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fivefold
from fivefold.catalog.lineage import Thing
from fivefold.catalog.run_rows import Metric
from fivefold.catalog.versions import Version
from fivefold.core.canonical import Json, digest
from fivefold.core.errors import Conflict
from fivefold.core.feature_names import feature_types
from fivefold.core.features import chosen
from fivefold.core.learning import GroupSplit, Model
from fivefold.core.noun import definition, noun_digest
from fivefold.core.sources import rows_of
from fivefold.core.time import SECOND
from fivefold.core.types import Schema, Type
from fivefold.data.parts import atomically
from fivefold.flow.steps import Steps, steps_of
from fivefold.mlops.judge import Judged, judged_table
from fivefold.mlops.training_rows import KNOWN, LABEL, ROW, TIME, TrainingRows, row_names, training_rows
from fivefold.models.encode import fit_encoding
from fivefold.models.importance import importance
from fivefold.models.leakage import giveaways
from fivefold.models.learners import fit
from fivefold.models.metrics import DEFAULT_METRICS, score
from fivefold.models.package import FeatureInfo, write_package
from fivefold.models.splits import Split, split
from fivefold.models.tasks import task_of
from fivefold.models.tuning import tune
from fivefold.ports.blobs import put_blob
from fivefold.ports.trees import put_tree
from fivefold.workspace import Workspace

Progress = Callable[[str, int, int], None]

ALWAYS = ("numpy", "pyarrow", "duckdb", "sqlglot")
LIBRARIES = {
    "lightgbm": ("lightgbm", "onnx", "onnxmltools", "onnxruntime", "scikit-learn"),
    "xgboost": ("xgboost-cpu", "xgboost", "onnx", "onnxmltools", "onnxruntime", "scikit-learn"),
    "sklearn": ("scikit-learn", "scipy", "skops", "skl2onnx", "onnx", "onnxruntime"),
    "torch": ("torch", "safetensors"),
    "object": ("scikit-learn", "scipy", "pandas"),
}
"""What a learner's result depends on, beside what every result does."""


RUN_LEASE = 60 * SECOND
"""How long a run that does not say it lives counts as running; while it trains it says so every few seconds."""


class Trained(msgspec.Struct, frozen=True):
    """A version, and whether it was made now or was there already."""

    version: Version
    new: bool
    warnings: tuple[str, ...] = ()


def train(
    workspace: Workspace,
    model: Model,
    schemas: Mapping[str, Schema],
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Trained:
    """Train a model on what is applied, and register the version.

    A version's key is the digest of its inputs: when they are the same, the version that is there is returned and
    nothing is done. A killed training goes on at the step it had reached. Raises what the data, the learner and the
    package raise; then no version is registered and the run is marked failed.
    """
    inputs = version_inputs(workspace, model)
    key = digest("version", inputs)
    known = workspace.catalog.versions.by_key(model.name, key)
    if known is not None:
        return Trained(known, new=False)
    runs = workspace.catalog.runs
    run_id = _begin_run(workspace, model, key)
    work = f"train:{model.name}:{key[:32]}"
    try:
        alive = partial(runs.renew, run_id, lease_us=RUN_LEASE)
        with steps_of(
            workspace.catalog.journal, work, "train", key=key, request=inputs, say=say, alive=alive
        ) as steps:
            version, warnings = _steps(workspace, model, schemas, key, inputs, run_id, steps, progress)
    except BaseException as e:
        runs.finish(run_id, status="failed", error=f"{type(e).__name__}: {e}"[:2000])
        raise
    runs.finish(run_id)
    return Trained(version, new=True, warnings=warnings)


def _begin_run(workspace: Workspace, model: Model, key: str) -> str:
    """The run of a training: the one that was killed and is resumed, else a new one."""
    runs = workspace.catalog.runs
    for attempt in itertools.count(1):
        run_id = f"{model.name}-{key[:12]}-{attempt}"
        tags = {"key": key, "code": fivefold.__version__}
        run = runs.create(run_id, "train", model.name, actor=workspace.actor, params=_params(model), tags=tags,
                          lease_us=RUN_LEASE)
        if run.status in ("running", "killed"):
            runs.renew(run_id, lease_us=RUN_LEASE)
            return run_id
    raise AssertionError


def version_inputs(workspace: Workspace, model: Model) -> dict[str, Json]:
    """Everything a version is made of: definitions, data, scales, environment, seed and threads.

    Raises Conflict when the project file has changes to the model, or to what it stands on, that are not applied.
    """
    refs = closure(workspace, model.ref)
    require_applied(workspace, refs)
    sources = [ref.split(":", 1)[1] for ref in refs if ref.startswith(("table:", "view:"))]
    scales = workspace.scales()
    return {
        "model": workspace.project.closure_digests[model.ref],
        "snapshots": {name: workspace.snapshot(name).digest for name in _read_by(model)},
        "scales": {name: dict(scales[name]) for name in sources if name in scales},
        "environment": environment_lock(model.learner.kind),
        "seed": model.seed,
        "threads": model.threads,
    }


def closure(workspace: Workspace, ref: str) -> list[str]:
    """A declaration and everything it stands on, in order of the graph."""
    wanted = {ref}
    for candidate in reversed(list(workspace.project.nouns)):
        if candidate in wanted:
            wanted.update(workspace.project.upstream[candidate])
    return [r for r in workspace.project.nouns if r in wanted]


def require_applied(workspace: Workspace, refs: list[str]) -> None:
    """Raise Conflict when any of these declarations differs from what is applied."""
    applied = workspace.catalog.definitions.applied()
    stale = [
        ref
        for ref in refs
        if (held := applied.get((workspace.project.nouns[ref].kind, workspace.project.nouns[ref].name))) is None
        or held.digest != noun_digest(workspace.project.nouns[ref])
    ]
    if stale:
        raise Conflict(
            f"the project file has changes that are not applied: {', '.join(stale[:6])}"
            f"{' …' if len(stale) > 6 else ''}.",
            hint="Run `fivefold plan`, then `fivefold apply`.",
        )


def environment_lock(learner: str) -> dict[str, str]:
    """Versions of Python, of fivefold and of the libraries that a learner's result depends on."""
    names = [*ALWAYS, *LIBRARIES.get(learner, ())]
    found = {"python": platform.python_version(), "machine": platform.machine(), "fivefold": fivefold.__version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _read_by(model: Model) -> list[str]:
    """Names of the sources whose rows a model reads itself."""
    return list(
        dict.fromkeys(
            [
                rows_of(model.target.source).name,
                *(rows_of(view.source).name for view, _ in chosen(model.features).values()),
            ]
        )
    )


def _params(model: Model) -> dict[str, str]:
    return {
        "learner": model.learner.kind,
        "split": repr(model.split),
        "seed": str(model.seed),
        "threads": str(model.threads),
        **{k: repr(v) for k, v in model.learner.params.items()},
    }


def _steps(
    workspace: Workspace,
    model: Model,
    schemas: Mapping[str, Schema],
    key: str,
    inputs: dict[str, Json],
    run_id: str,
    steps: Steps,
    progress: Progress | None,
) -> tuple[Version, tuple[str, ...]]:
    started = time.monotonic()
    stored = workspace.state / "scratch" / "rows" / f"{key}.parquet"
    found = steps.run("rows", lambda: _rows(workspace, model, schemas, stored, progress))
    if not stored.exists():  # scratch space may have been emptied since the step finished
        found = _rows(workspace, model, schemas, stored, progress)
    rows = TrainingRows(pq.read_table(stored), Type(found["label"]), found["unlabelled"])
    made = steps.run("fit", lambda: _fit(workspace, model, schemas, rows, key, inputs, progress))
    metrics = [Metric(name, m["value"], lower=m["low"], upper=m["high"]) for name, m in made["metrics"].items()]
    workspace.catalog.runs.log(
        run_id,
        metrics=metrics,
        params={f"used.{k}": str(v) for k, v in made["params"].items()},
        tags={"predictor": made["info"]["predictor"]},
        key="fit",
    )
    seconds = round(time.monotonic() - started, 3)
    version = workspace.catalog.versions.register(
        model.name,
        key,
        artifact=made["artifact"],
        run_id=run_id,
        actor=workspace.actor,
        info={
            **made["info"],
            "seconds": seconds,
            "judged_on": made["judged_on"],
            "inputs": inputs,
            "closure": {ref: definition(workspace.project.nouns[ref]) for ref in closure(workspace, model.ref)},
            "schemas": {n: {c: k.value for c, k in schemas[n].items()} for n in _read_by(model)},
        },
    )
    me = Thing("version", f"{model.name}@{version.number}")
    edges = [(Thing("snapshot", f"{n}@{d}"), me, "trained on") for n, d in inputs["snapshots"].items()]
    edges += [(Thing("model", model.name), me, "declares"), (Thing("run", run_id), me, "made")]
    workspace.catalog.lineage.link(edges, actor=workspace.actor)
    stored.unlink(missing_ok=True)
    return version, tuple(made["warnings"])


def _rows(
    workspace: Workspace, model: Model, schemas: Mapping[str, Schema], stored: Path, progress: Progress | None
) -> dict[str, Json]:
    with workspace.database() as connection:
        rows = training_rows(workspace, connection, model, schemas, progress)
    atomically(stored, lambda path: pq.write_table(rows.table, path, compression="zstd"))
    return {"label": rows.label.value, "unlabelled": rows.unlabelled, "rows": rows.table.num_rows}


def _fit(
    workspace: Workspace,
    model: Model,
    schemas: Mapping[str, Schema],
    rows: TrainingRows,
    key: str,
    inputs: dict[str, Json],
    progress: Progress | None,
) -> dict[str, Json]:
    """Split, encode, tune, fit, measure and package."""
    table = rows.table
    types = feature_types(model, schemas)
    names = list(types)
    task = task_of(rows.label, grouped=model.target.group is not None)
    parts = split(
        model.split,
        rows=table.num_rows,
        time=rows.micros(TIME),
        known=rows.micros(KNOWN) if KNOWN in table.column_names else None,
        groups=_values(table, model.split.by) if isinstance(model.split, GroupSplit) else None,
    )
    features = table.select(names)
    train_rows = features.filter(pa.array(parts.train))
    encoding = fit_encoding(train_rows, names, types)
    y, classes = task.encode(table[LABEL], parts.train)
    groups = _values(table, model.target.group) if model.target.group else None
    x = encoding.matrix(features)
    x_train, y_train = x[parts.train], y[parts.train]
    g_train = None if groups is None else groups[parts.train]
    warnings = giveaways(task, names, x[parts.test], y[parts.test])
    learner, trials = tune(
        model.tune,
        model.learner,
        x_train,
        y_train,
        order=rows.micros(TIME)[parts.train],
        task=task,
        names=names,
        categorical=encoding.categorical,
        groups=g_train,
        threads=model.threads,
        trust_pickle=model.trust_pickle,
        progress=progress,
    )
    fitted = fit(
        learner,
        x_train,
        y_train,
        task=task,
        names=names,
        categorical=encoding.categorical,
        groups=g_train,
        seed=model.seed,
        threads=model.threads,
        trust_pickle=model.trust_pickle,
    )
    folder = workspace.state / "scratch" / "packages" / key
    shutil.rmtree(folder, ignore_errors=True)
    package = write_package(
        folder,
        name=model.name,
        key=key,
        fitted=fitted,
        encoding=encoding,
        task=task,
        classes=classes,
        features=[FeatureInfo(n, types[n].value) for n in names],
        example=features.filter(pa.array(parts.test)).slice(0, 5),
        sample=x[parts.test][:2000],
        tolerance=model.tolerance,
        definition=definition(model),
        environment={k: str(v) for k, v in inputs["environment"].items()},
    )
    p = package.predictor.predict(x[parts.test])
    metrics = model.metrics or DEFAULT_METRICS[task.name]
    wanted = tuple(dict.fromkeys([*metrics, *(g.metric for g in model.gates)]))
    g_test = None if groups is None else groups[parts.test]
    measured = score(task, y[parts.test], p, wanted, groups=g_test, seed=model.seed)
    test = np.flatnonzero(parts.test)
    segments = {s: _values(table, s)[test] for s in dict.fromkeys(g.segment for g in model.gates) if s}
    judged = Judged(row_names(table[ROW].take(pa.array(test))), y[test], p, g_test, segments)
    sink = io.BytesIO()
    pq.write_table(judged_table(judged), sink, compression="zstd")
    artifact = put_tree(workspace.artifacts, folder)
    shutil.rmtree(folder)
    return {
        "artifact": artifact,
        "judged_on": put_blob(workspace.artifacts, sink.getvalue()).digest,
        "metrics": {n: {"value": m.value, "low": m.low, "high": m.high} for n, m in measured.items()},
        "params": dict(fitted.params),
        "warnings": list(warnings),
        "info": {
            "task": task.name,
            "classes": classes,
            "format": fitted.format,
            **package.record,
            "metrics": {n: {"value": m.value, "low": m.low, "high": m.high} for n, m in measured.items()},
            "rows": _counts(parts, rows),
            "base_rate": float(y_train.mean()) if task.name == "binary" else None,
            "importance": importance(
                package.predictor.call, x[parts.test], y[parts.test], task, names, groups=g_test, seed=model.seed
            ),
            "trials": trials,
            "features": {n: types[n].value for n in names},
        },
    }


def _counts(parts: Split, rows: TrainingRows) -> dict[str, Json]:
    return {
        "train": int(parts.train.sum()),
        "test": int(parts.test.sum()),
        "purged": parts.purged,
        "unlabelled": rows.unlabelled,
    }


def _values(table: pa.Table, column: str) -> np.ndarray:
    return np.asarray(table[column].to_numpy(zero_copy_only=False))
