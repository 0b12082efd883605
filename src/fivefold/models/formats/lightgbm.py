"""LightGBM's own text format."""

from __future__ import annotations

import ctypes
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import missing_extra
from fivefold.models.fitted import Predict

_FLOAT64 = 1  # C_API_DTYPE_FLOAT64


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
    row = _row(booster)

    def predict(x: np.ndarray) -> np.ndarray:
        if row is not None and len(x) == 1 and x.dtype == np.float64 and x.flags.c_contiguous:
            return row(x)
        return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)

    return predict


def _row(booster: Any) -> Predict | None:
    """Predictions of one row by LightGBM's C API for just that, which spares most of `predict`'s time.

    None where this version of the library has it no more.
    """
    try:
        from lightgbm.basic import _LIB  # type: ignore[attr-defined]

        begin, ask, end = (
            getattr(_LIB, f"LGBM_{name}")
            for name in ("BoosterPredictForMatSingleRowFastInit", "BoosterPredictForMatSingleRowFast", "FastConfigFree")
        )
        handle, width, per_row = booster._handle, booster.num_feature(), booster.num_model_per_iteration()
    except (ImportError, AttributeError):
        return None
    fast = ctypes.c_void_p()
    normal, first, every = 0, 0, -1
    if begin(handle, normal, first, every, _FLOAT64, width, b"num_threads=1", ctypes.byref(fast)):
        return None
    # the library refers to the booster's memory: it is kept as long as it may be asked
    weakref.finalize(booster, end, fast)
    shape = (1, per_row) if per_row > 1 else (1,)

    def predict(x: np.ndarray) -> np.ndarray:
        if x.shape[1] != width:
            return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)  # it says what is wrong
        out, count = np.empty(shape), ctypes.c_int64()
        if ask(fast, ctypes.c_void_p(x.ctypes.data), ctypes.byref(count), ctypes.c_void_p(out.ctypes.data)):
            return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)
        return out

    return predict
