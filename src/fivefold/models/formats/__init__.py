"""Formats, one file each: `save(model, folder, task)`, `load(folder, task)`. All but pickle hold data, never code."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from fivefold.core.errors import Invalid
from fivefold.models.fitted import Predict

FORMATS = ("lightgbm", "xgboost", "onnx", "skops", "torch", "linear", "pickle")


def save(format_name: str, model: object, folder: Path, task: str) -> None:
    """Write a model below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _module(format_name).save(model, folder, task)


def load(format_name: str, folder: Path, task: str) -> Predict:
    """The predictor of a stored model; nothing but a `pickle` can run code. Raises Invalid for what is damaged."""
    predict: Predict = _module(format_name).load(folder, task)
    return predict


def _module(format_name: str) -> ModuleType:
    if format_name not in FORMATS:
        raise Invalid(f"no model format {format_name!r} (have: {', '.join(FORMATS)}).")
    return importlib.import_module(f"fivefold.models.formats.{format_name}")
