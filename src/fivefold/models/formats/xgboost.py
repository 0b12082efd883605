"""XGBoost's universal binary JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import missing_extra
from fivefold.models.fitted import Predict


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.ubj`."""
    (folder / "model.ubj").write_bytes(bytes(model.save_raw("ubj")))


def load(folder: Path, task: str) -> Predict:
    """Read `model.ubj`."""
    try:
        import xgboost as xgb
    except ImportError:
        raise missing_extra("xgboost-cpu", "xgboost", "this model") from None
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray((folder / "model.ubj").read_bytes()))
    return predictor(booster)


def predictor(booster: Any) -> Predict:
    """The booster's predictions, without building a DMatrix."""

    def predict(x: np.ndarray) -> np.ndarray:
        return np.asarray(booster.inplace_predict(x, missing=np.nan), dtype=np.float64)

    return predict
