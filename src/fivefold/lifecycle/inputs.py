"""What a version is made of: its key is the digest of all of it."""

from __future__ import annotations

import platform
from importlib import metadata

import msgspec

import fivefold
from fivefold.core.canonical import Json, digest
from fivefold.core.features import chosen
from fivefold.core.learning import Model
from fivefold.core.noun import noun_digest
from fivefold.core.sources import rows_of
from fivefold.workspace import Workspace
from fivefold.workspace.applied import require_applied

ALWAYS = ("numpy", "pyarrow", "duckdb", "sqlglot")
LIBRARIES = {
    "lightgbm": ("lightgbm", "scikit-learn"),
    "xgboost": ("xgboost-cpu", "xgboost", "onnx", "onnxmltools", "onnxruntime", "scikit-learn"),
    "sklearn": ("scikit-learn", "scipy", "skops", "skl2onnx", "onnx", "onnxruntime"),
    "torch": ("torch", "safetensors"),
    "object": ("scikit-learn", "scipy", "pandas"),
}
"""What a learner's result depends on, beside what every result does."""


def version_inputs(workspace: Workspace, model: Model) -> dict[str, Json]:
    """Everything a version is made of: definitions, data, scales, environment, seed and threads.

    Raises Conflict when the project file has changes to the model, or to what it stands on, that are not applied.
    """
    require_applied(workspace, [model.ref])
    refs = workspace.project.closure([model.ref])
    sources = [ref.split(":", 1)[1] for ref in refs if ref.startswith(("table:", "view:"))]
    scales = workspace.scales()
    return {
        "model": meaning(workspace, model),
        "snapshots": {name: workspace.snapshot(name).digest for name in read_by(model)},
        "scales": {name: dict(scales[name]) for name in sources if name in scales},
        "environment": environment_lock(model.learner.kind),
        "seed": model.seed,
        "threads": model.threads,
    }


def meaning(workspace: Workspace, model: Model) -> str:
    """A digest of the model and all it stands on, without its gates: they judge a version and do not make it.

    The segments that gates ask for count, since test rows keep them.
    """
    digests = workspace.project.closure_digests
    return digest(
        "model",
        {
            "noun": noun_digest(msgspec.structs.replace(model, gates=())),
            "segments": sorted({g.segment for g in model.gates if g.segment}),
            "upstream": {up: digests[up] for up in workspace.project.upstream[model.ref]},
        },
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


def read_by(model: Model) -> list[str]:
    """Names of the sources whose rows a model reads itself."""
    return list(
        dict.fromkeys(
            [
                rows_of(model.target.source).name,
                *(rows_of(view.source).name for view, _ in chosen(model.features).values()),
            ]
        )
    )
