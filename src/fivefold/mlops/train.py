"""Training: from what is applied to a registered version, in durable steps; the same inputs give the same version."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from fivefold.catalog.lineage import Thing
from fivefold.catalog.run_rows import Metric
from fivefold.catalog.versions import Version
from fivefold.core.canonical import Json, digest
from fivefold.core.learning import Model
from fivefold.core.noun import definition
from fivefold.core.time import SECOND
from fivefold.core.types import Schema, Type
from fivefold.data.parts import atomically
from fivefold.flow.steps import Steps, steps_of
from fivefold.lifecycle.fitting import fit_and_package
from fivefold.lifecycle.inputs import read_by, version_inputs
from fivefold.lifecycle.training_rows import TrainingRows, training_rows
from fivefold.workspace import Workspace
from fivefold.workspace.commit import commit_of

Progress = Callable[[str, int, int], None]

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
    run_id = _begin_run(workspace, model, key, inputs)
    work = f"train:{model.name}:{key[:32]}"
    try:
        alive = partial(runs.renew, run_id, lease_us=RUN_LEASE)
        with steps_of(workspace.catalog.journal, work, "train", key=key, request=inputs, say=say, alive=alive) as steps:
            version, warnings = _steps(workspace, model, schemas, key, inputs, run_id, steps, progress)
    except Exception as e:  # an interrupted training is no failed one: the same command goes on with it
        runs.finish(run_id, status="failed", error=f"{type(e).__name__}: {e}"[:2000])
        raise
    runs.finish(run_id)
    return Trained(version, new=True, warnings=warnings)


def _begin_run(workspace: Workspace, model: Model, key: str, inputs: dict[str, Json]) -> str:
    """The run of a training: the one that was killed and is resumed, else a new one."""
    runs = workspace.catalog.runs
    for attempt in itertools.count(1):
        run_id = f"{model.name}-{key[:12]}-{attempt}"
        tags = {
            "key": key,
            "definition": inputs["model"],
            "code.commit": commit_of(workspace.root),
            **{f"snapshot.{name}": made for name, made in inputs["snapshots"].items()},
            **{f"environment.{name}": found for name, found in inputs["environment"].items()},
        }
        run = runs.create(
            run_id, "train", model.name, actor=workspace.actor, params=_params(model), tags=tags, lease_us=RUN_LEASE
        )
        if run.status in ("running", "killed"):
            runs.renew(run_id, lease_us=RUN_LEASE)
            return run_id
    raise AssertionError


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
    made = steps.run("fit", lambda: fit_and_package(workspace, model, schemas, rows, key, inputs, progress))
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
            "closure": {r: definition(workspace.project.nouns[r]) for r in workspace.project.closure([model.ref])},
            "schemas": {n: {c: k.value for c, k in schemas[n].items()} for n in read_by(model)},
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
