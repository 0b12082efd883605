"""Gradient-boosted trees by XGBoost (Chen and Guestrin 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats.onnx import xgboost_to_onnx
from fivefold.models.formats.xgboost import predictor

OBJECTIVES = {
    "binary": "binary:logistic",
    "multiclass": "multi:softprob",
    "regression": "reg:squarederror",
    "ranking": "rank:ndcg",
}


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit a booster; parameters are XGBoost's own, `n_estimators` the number of rounds.

    Categories are taken as ordered numbers: XGBoost's own handling of them has no portable form.
    """
    try:
        import xgboost as xgb
    except ImportError:
        raise missing_extra("xgboost-cpu", "xgboost", "the learner xgboost") from None
    given = dict(learner.params)
    rounds = int(given.pop("n_estimators", given.pop("num_boost_round", 100)))
    params: dict[str, Any] = {
        "objective": OBJECTIVES[data.task],
        "verbosity": 0,
        "seed": data.seed,
        "nthread": data.threads,
        "tree_method": "hist",
        **given,
    }
    if data.task == "multiclass":
        params["num_class"] = data.classes
    x, y = data.x, data.y
    sizes = None
    if data.task == "ranking":
        order, sizes = data.by_group()
        x, y = x[order], y[order]
    train = xgb.DMatrix(x, label=y, nthread=data.threads)
    if sizes is not None:
        train.set_group(sizes)
    try:
        booster = xgb.train(params, train, num_boost_round=rounds)
    except xgb.core.XGBoostError as e:
        raise Invalid(
            f"XGBoost refused to train: {str(e).splitlines()[0]}.", hint="Check the learner's parameters."
        ) from None
    booster.set_param({"nthread": 1})
    native = predictor(booster)

    def predict(matrix: np.ndarray) -> np.ndarray:
        return native(matrix)

    return Fitted(
        "xgboost",
        booster,
        predict,
        {**params, "n_estimators": rounds},
        lambda: xgboost_to_onnx(booster, data.x.shape[1]),
    )
