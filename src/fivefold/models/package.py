"""A model package: a folder that says what it is, checks itself, and loads without running anything but the model."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid, NotFound, Unsupported
from fivefold.models import formats
from fivefold.models.encode import Encoding
from fivefold.models.fitted import Fitted
from fivefold.models.mlmodel import input_example, mlmodel, python_env, requirements
from fivefold.models.predictor import Predictor, choose
from fivefold.models.tasks import Task

MANIFEST = "manifest.json"


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
    # a conversion that is not used would be one more thing that could be wrong
    for other in candidates:
        if other not in (predictor.format, fitted.format):
            shutil.rmtree(folder / "model" / other)
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
    _write(folder / MANIFEST, _manifest(folder))
    record = {
        "predictor": predictor.format,
        "rowwise": predictor.rowwise,
        "deviation": chosen.deviation,
        "candidates": {n: c.facts for n, c in candidates.items()},
        "notes": notes,
    }
    return Package(predictor, record)


def verify(folder: Path) -> None:
    """Check every file of a package against its manifest.

    Raises NotFound without a manifest, Invalid for a file that is missing, changed, a link, or not listed.
    """
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise NotFound(f"{folder} is no model package: it has no {MANIFEST}.")
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except msgspec.MsgspecError as e:
        raise Invalid(f"{path} is damaged: {e}.", hint="Fetch the package again.") from None
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()} - {
        MANIFEST
    }
    for name in sorted(there ^ set(listed)):
        what = "is not listed in its manifest" if name in there else "is missing"
        raise Invalid(f"the package {folder.name} is corrupt: {name} {what}.", hint="Fetch the package again.")
    for name, expected in listed.items():
        file = folder / name
        if file.is_symlink():
            raise Invalid(f"the package {folder.name} is corrupt: {name} is a link.", hint="Fetch the package again.")
        found = _digest(file)
        if found != expected:
            raise Invalid(
                f"the package {folder.name} is corrupt: {name} has the digest {found[:12]}, not {expected[:12]}.",
                hint="Fetch the package again.",
            )


def load(folder: Path, *, trust_pickle: bool = False) -> LoadedModel:
    """Verify a package and load its declared predictor.

    Raises what `verify` raises, and Unsupported for a pickle unless the caller trusts it.
    """
    verify(folder)
    about = msgspec.json.decode((folder / "fivefold.json").read_bytes(), type=About)
    encoding = msgspec.json.decode((folder / "encoding.json").read_bytes(), type=Encoding)
    if "pickle" in (about.predictor, about.format) and not trust_pickle:
        raise Unsupported(
            f"the model {about.name} is stored as a pickle, which runs code when it is loaded.",
            hint="If you trust it, declare Model(trust_pickle=True).",
        )
    call = formats.load(about.predictor, folder / "model" / about.predictor, about.task)
    examples = msgspec.json.decode((folder / "input_example.json").read_bytes(), type=list[dict[str, Any]])
    return LoadedModel(
        about, encoding, Predictor(about.predictor, about.rowwise, call), examples[0] if examples else {}
    )


def _manifest(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): _digest(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != MANIFEST
    }


def _digest(path: Path) -> str:
    # a link planted between listing and reading is not followed
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _write(path: Path, value: Any) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n")
