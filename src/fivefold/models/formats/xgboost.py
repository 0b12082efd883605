"""XGBoost's JSON.

Not its binary JSON: its reader of that ends the process, or reads beyond the buffer, when a file is damaged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import missing_extra
from fivefold.models.fitted import Predict


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.json`."""
    (folder / "model.json").write_bytes(bytes(model.save_raw("json")))


def load(folder: Path, task: str) -> Predict:
    """Read `model.json`."""
    try:
        import xgboost as xgb
    except ImportError:
        raise missing_extra("xgboost-cpu", "xgboost", "this model") from None
    held = (folder / "model.json").read_bytes()
    json.loads(held)
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(held))
    return predictor(booster)


def predictor(booster: Any) -> Predict:
    """The booster's predictions, without building a DMatrix."""

    def predict(x: np.ndarray) -> np.ndarray:
        return np.asarray(booster.inplace_predict(x, missing=np.nan), dtype=np.float64)

    return predict
