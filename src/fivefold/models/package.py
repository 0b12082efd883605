"""A model package: a folder that says what it is, checks itself, and loads without running anything but the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid, Unsupported
from fivefold.models import formats
from fivefold.models.choice import choose
from fivefold.models.encode import Encoding
from fivefold.models.fitted import Fitted
from fivefold.models.formats import pickle
from fivefold.models.formats.pickle import PATIENCE
from fivefold.models.mlmodel import input_example, mlmodel, python_env, requirements
from fivefold.models.predictor import Predictor
from fivefold.models.tasks import Task
from fivefold.models.verify import MANIFEST, manifest_of, verify

T = TypeVar("T")


class FeatureInfo(msgspec.Struct, frozen=True):
    """A feature as a package names it."""

    name: str
    type: str


class About(msgspec.Struct, frozen=True):
    """What a package holds; written as `fivefold.json`."""

    name: str
    key: str
    task: str
    classes: list[str] | None
    format: str
    predictor: str
    rowwise: bool
    tolerance: float
    deviation: float
    features: tuple[FeatureInfo, ...]
    definition: Any
    environment: dict[str, str]


class Package(msgspec.Struct, frozen=True):
    """A package just written: its predictor, and what was measured while it was chosen."""

    predictor: Predictor
    record: dict[str, Any]


class LoadedModel(msgspec.Struct, frozen=True):
    """A package in memory, ready to answer."""

    about: About
    encoding: Encoding
    predictor: Predictor
    example: dict[str, Any]

    def predict(self, table: pa.Table) -> np.ndarray:
        """Predictions `(n,)` or `(n, k)` for a table with the model's features, by name."""
        return self.predictor.predict(self.encoding.matrix(table))

    def predict_row(self, values: Sequence[object]) -> np.ndarray:
        """The prediction `(1,)` or `(1, k)` for one row of Python values in the features' order; the same bits."""
        return self.predictor.predict(self.encoding.row(values))


def write_package(
    folder: Path,
    *,
    name: str,
    key: str,
    fitted: Fitted,
    encoding: Encoding,
    task: Task,
    classes: list[str] | None,
    features: Sequence[FeatureInfo],
    example: pa.Table,
    sample: np.ndarray,
    tolerance: float,
    definition: Any,
    environment: Mapping[str, str],
) -> Package:
    """Write a package into a new folder; equal inputs give equal bytes.

    `example` is a few rows of features, `sample` `(n, features)` the rows on which predictors are compared. Raises
    Invalid when no predictor is within the tolerance.
    """
    folder.mkdir(parents=True)
    predictor, candidates, notes = choose(fitted, folder / "model", task.name, sample, tolerance)
    chosen = candidates[predictor.format]
    about = About(
        name,
        key,
        task.name,
        classes,
        fitted.format,
        predictor.format,
        predictor.rowwise,
        tolerance,
        chosen.deviation,
        tuple(features),
        definition,
        dict(environment),
    )
    _write(folder / "fivefold.json", about)
    _write(folder / "encoding.json", encoding)
    (folder / "input_example.json").write_text(input_example(example))
    (folder / "requirements.txt").write_text(requirements(environment))
    (folder / "python_env.yaml").write_text(python_env(environment))
    (folder / "MLmodel").write_text(mlmodel(name, key, features, task, classes, environment))
    _write(folder / MANIFEST, manifest_of(folder))
    record = {
        "predictor": predictor.format,
        "rowwise": predictor.rowwise,
        "deviation": chosen.deviation,
        "candidates": {n: c.facts for n, c in candidates.items()},
        "notes": notes,
    }
    return Package(predictor, record)


def load(folder: Path, *, trust_pickle: bool = False, patience: float = PATIENCE) -> LoadedModel:
    """Verify a package and load its declared predictor.

    Raises what `verify` raises, Invalid for parts that do not belong together, and Unsupported for a pickle unless the
    caller trusts it; `patience` is how many seconds a pickled model may take to answer.
    """
    verify(folder)
    about = _read(folder / "fivefold.json", About)
    encoding = _read(folder / "encoding.json", Encoding)
    examples = _read(folder / "input_example.json", list[dict[str, Any]])
    if tuple((f.name, f.type) for f in about.features) != tuple(zip(encoding.names, encoding.types, strict=False)):
        raise Invalid(f"the package {folder.name} is corrupt: fivefold.json and encoding.json name other features.")
    where = folder / "model" / about.predictor
    if "pickle" in (about.predictor, about.format) and not trust_pickle:
        raise Unsupported(
            f"the model {about.name} is stored as a pickle, which runs code when it is loaded.",
            hint="If you trust it, declare Model(trust_pickle=True).",
        )
    if about.predictor == "pickle":
        call = pickle.load(where, about.task, patience=patience)
    else:
        call = formats.load(about.predictor, where, about.task)
    classes = None if about.classes is None else len(about.classes)
    predictor = Predictor(about.predictor, about.rowwise, call, classes)
    return LoadedModel(about, encoding, predictor, examples[0] if examples else {})


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise Invalid(f"{path} is damaged: {e}.", hint="Fetch the package again.") from None


def _write(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n")
