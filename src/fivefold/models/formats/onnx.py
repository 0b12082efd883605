"""ONNX: converting to it, and running it on one thread (with two, its bits depend on the batch)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.core.errors import missing_extra
from fivefold.models.fitted import Predict

OPSET = 15


def save(model: bytes, folder: Path, task: str) -> None:
    """Write `model.onnx`."""
    (folder / "model.onnx").write_bytes(model)


def load(folder: Path, task: str) -> Predict:
    """Read `model.onnx`; data outside the file is refused."""
    return predictor((folder / "model.onnx").read_bytes(), task)


def predictor(model: bytes, task: str) -> Predict:
    """Predictions of an ONNX model of one float32 input `(n, features)`."""
    try:
        import onnxruntime as ort
    except ImportError:
        raise missing_extra("onnxruntime", "xgboost", "this model") from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # a model may name files to read weights from: there are none to be found here
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [o.name for o in session.get_outputs()]
    wanted = [outputs[-1]]

    def predict(x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):  # what a float32 does not hold is infinite, on the right side of every split
            narrow = x.astype(np.float32)
        found = np.asarray(session.run(wanted, {name: narrow})[0], dtype=np.float64)
        if task == "binary":
            return found[:, 1] if found.ndim == 2 and found.shape[1] == 2 else found.ravel()
        return found if task == "multiclass" else found.ravel()

    return predict


def xgboost_to_onnx(booster: Any, features: int, task: str) -> bytes:
    """An XGBoost booster as ONNX."""
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    if task == "ranking":
        # the converter takes rankers for classifiers; what they give is the plain sum of trees, as in regression
        booster = booster.copy()
        booster.set_param({"objective": "reg:squarederror"})

    return _bytes(
        convert_xgboost(booster, initial_types=[("x", FloatTensorType([None, features]))], target_opset=OPSET)
    )


def sklearn_to_onnx(estimator: Any, features: int, task: str) -> bytes:
    """A scikit-learn estimator as ONNX."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    options = {"zipmap": False} if task in ("binary", "multiclass") else None
    return _bytes(
        to_onnx(
            estimator, initial_types=[("x", FloatTensorType([None, features]))], options=options, target_opset=OPSET
        )
    )


def _bytes(model: Any) -> bytes:
    # names and versions of the converter would make equal models differ
    model.producer_name, model.producer_version, model.doc_string = "fivefold", "", ""
    model.graph.name, model.graph.doc_string = "model", ""
    return bytes(model.SerializeToString(deterministic=True))
