"""One training from rows to a package: split, encode, tune, fit, measure, write."""

from __future__ import annotations

import io
import itertools
import shutil
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.canonical import Json
from fivefold.core.feature_names import feature_types
from fivefold.core.learning import GroupSplit, Model
from fivefold.core.noun import definition
from fivefold.core.types import Schema
from fivefold.data.ingest import Progress
from fivefold.lifecycle.judge import Judged, judged_table
from fivefold.lifecycle.training_rows import KNOWN, LABEL, ROW, TIME, TrainingRows, row_names
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


def fit_and_package(
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
    done = itertools.count()

    def show(stage: str) -> None:
        if progress:
            progress(f"{model.name}: {stage}", next(done), 3)

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
    show("fitting")
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
    show("packaging")
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
    show("measuring")
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
