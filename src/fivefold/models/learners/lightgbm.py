"""Gradient-boosted trees by LightGBM (Ke et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats.onnx import lightgbm_to_onnx

OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression", "ranking": "lambdarank"}


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit a booster; parameters are LightGBM's own, `n_estimators` the number of rounds."""
    try:
        import lightgbm as lgb
    except ImportError:
        raise missing_extra("lightgbm", "lightgbm", "the learner lightgbm") from None
    given = dict(learner.params)
    rounds = int(given.pop("n_estimators", given.pop("num_iterations", 100)))
    params: dict[str, Any] = {
        "objective": OBJECTIVES[data.task],
        "verbosity": -1,
        "seed": data.seed,
        "num_threads": data.threads,
        # without these two, histograms may be summed in an order that depends on the threads' timing
        "deterministic": True,
        "force_row_wise": True,
        **given,
    }
    if data.task == "multiclass":
        params["num_class"] = data.classes
    x, y, group = data.x, data.y, None
    if data.task == "ranking":
        order, group = data.by_group()
        x, y = x[order], y[order]
    try:
        train = lgb.Dataset(
            x,
            y,
            group=group,
            feature_name=[f"f{i}" for i in range(x.shape[1])],
            categorical_feature=list(data.categorical),
            free_raw_data=False,
        )
        booster = lgb.train(params, train, num_boost_round=rounds)
    except lgb.basic.LightGBMError as e:
        raise Invalid(f"LightGBM refused to train: {e}.", hint="Check the learner's parameters.") from None

    def predict(matrix: np.ndarray) -> np.ndarray:
        return np.asarray(booster.predict(matrix, num_threads=1), dtype=np.float64)

    convert = None if data.categorical else lambda: lightgbm_to_onnx(booster, data.x.shape[1])
    return Fitted("lightgbm", booster, predict, {**params, "n_estimators": rounds}, convert)
