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

FEW = 16
"""Up to so many rows are asked for one by one."""


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
    rows = _rows(booster)

    def predict(x: np.ndarray) -> np.ndarray:
        if rows is not None and 0 < len(x) <= FEW and x.dtype == np.float64 and x.flags.c_contiguous:
            return rows(x)
        return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)

    return predict


def _rows(booster: Any) -> Predict | None:
    """Predictions of few rows, one after the other, by LightGBM's C API for one row.

    `predict` spends as long on what it does before the first of them as on some ten rows. None where this version of
    the library has the calls no more.
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
    shape, step = (per_row,) if per_row > 1 else (), 8 * per_row
    pointer, count = ctypes.c_void_p, ctypes.c_int64()
    told = ctypes.byref(count)

    def predict(x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), *shape))
        here, there, stride = x.ctypes.data, out.ctypes.data, x.strides[0]
        if x.shape[1] == width and not any(
            ask(fast, pointer(here + i * stride), told, pointer(there + i * step)) for i in range(len(x))
        ):
            return out
        return np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)  # it says what is wrong

    return predict
