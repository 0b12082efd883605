"""LightGBM's own text format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import missing_extra
from fivefold.models.fitted import Predict


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.txt`."""
    (folder / "model.txt").write_text(model.model_to_string(num_iteration=-1))


def load(folder: Path, task: str) -> Predict:
    """Read `model.txt`."""
    try:
        import lightgbm as lgb
    except ImportError:
        raise missing_extra("lightgbm", "lightgbm", "this model") from None
    return predictor(lgb.Booster(model_str=(folder / "model.txt").read_text()))


def predictor(booster: Any) -> Predict:
    """The booster's predictions, on one thread."""

    def predict(x: np.ndarray) -> np.ndarray:
        return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)

    return predict
