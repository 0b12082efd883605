"""Formats, one file each: `save(model, folder, task)`, `load(folder, task)`. All but pickle hold data, never code."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.models.fitted import Predict

FORMATS = ("lightgbm", "xgboost", "onnx", "skops", "torch", "linear", "pickle")


def save(format_name: str, model: object, folder: Path, task: str) -> None:
    """Write a model below a folder. Raises Invalid for what the format cannot hold."""
    folder.mkdir(parents=True, exist_ok=True)
    _module(format_name).save(model, folder, task)


def load(format_name: str, folder: Path, task: str) -> Predict:
    """The predictor of a stored model; nothing but a `pickle` can run code.

    Raises Invalid for what is damaged, Unsupported with the install command for a missing library.
    """
    module = _module(format_name)
    try:
        predict: Predict = module.load(folder, task)
    except FivefoldError:
        raise
    except Exception as e:  # each library has classes of its own for every kind of damage
        raise Invalid(
            f"{folder} holds no {format_name} model that can be read ({type(e).__name__}: {first_line(e)})."
        ) from None
    return predict


def first_line(error: Exception) -> str:
    """What a library says went wrong, without its traces."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else "no reason given"


def _module(format_name: str) -> ModuleType:
    if format_name not in FORMATS:
        raise Invalid(f"no model format {format_name!r} (have: {', '.join(FORMATS)}).")
    return importlib.import_module(f"fivefold.models.formats.{format_name}")
