"""The files by which MLflow knows a package: MLmodel, its signature, the input example and the requirements.

https://mlflow.org/docs/latest/ml/model/ (storage format, signatures, python_function flavour).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from fivefold.core.canonical import digest
from fivefold.models.tasks import Task

KINDS = {"int64": "any", "float64": "double", "bool": "any", "string": "string"}
"""MLflow's types. Its `long` and `boolean` take no nulls, its `double` no integers; the loader checks these itself."""
EPOCH = "1970-01-01 00:00:00.000000"
"""MLflow wants a time of creation; the same inputs must give the same bytes, so it is the same for all."""


class _Feature(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...


def mlmodel(
    name: str,
    key: str,
    features: Sequence[_Feature],
    task: Task,
    classes: list[str] | None,
    environment: Mapping[str, str],
) -> str:
    """The MLmodel file (YAML; JSON strings are YAML strings)."""
    inputs = [{"type": KINDS[f.type], "name": f.name, "required": False} for f in features]
    outputs: list[dict[str, Any]] = [{"type": "double", "name": c, "required": True} for c in classes or ["prediction"]]
    lines = [
        "artifact_path: model",
        "flavors:",
        "  python_function:",
        "    data: .",
        "    env:",
        "      virtualenv: python_env.yaml",
        "    loader_module: fivefold.models.pyfunc",
        f"    python_version: {environment.get('python', '3.11')}",
        f"model_uuid: {digest('mlflow', key)[:32]}",
        f"name: {json.dumps(name)}",
        "signature:",
        f"  inputs: {_quoted(json.dumps(inputs))}",
        f"  outputs: {_quoted(json.dumps(outputs))}",
        "  params: null",
        f"utc_time_created: '{EPOCH}'",
        "metadata:",
        f"  fivefold_key: {key}",
        f"  fivefold_task: {task.name}",
        "",
    ]
    return "\n".join(lines)


def requirements(environment: Mapping[str, str]) -> str:
    """The environment lock as a requirements file."""
    return "".join(f"{n}=={v}\n" for n, v in sorted(environment.items()) if n not in ("python", "machine"))


def python_env(environment: Mapping[str, str]) -> str:
    """The file MLflow makes a virtual environment from."""
    return f"python: {environment.get('python', '3.11')}\ndependencies:\n- -r requirements.txt\n"


def input_example(rows: pa.Table) -> str:
    """A few rows as JSON records; what JSON has no number for is null."""
    records = [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in rows.to_pylist()
    ]
    return json.dumps(records, indent=1, ensure_ascii=False) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
