"""Gradient-boosted trees by XGBoost (Chen and Guestrin 2016)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats import first_line
from fivefold.models.formats.onnx import xgboost_to_onnx
from fivefold.models.formats.xgboost import predictor
from fivefold.models.learners.parameters import require_known, whole

OBJECTIVES = {
    "binary": "binary:logistic",
    "multiclass": "multi:softprob",
    "regression": "reg:squarederror",
    "ranking": "rank:ndcg",
}
ROUNDS = ("n_estimators", "num_boost_round")


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit a booster; parameters are XGBoost's own, `n_estimators` the number of rounds.

    Categories are taken as ordered numbers: XGBoost's own handling of them has no portable form. Raises Invalid for a
    parameter that XGBoost does not have (it would ignore it) and for a value it refuses.
    """
    try:
        import xgboost as xgb
    except ImportError:
        raise missing_extra("xgboost-cpu", "xgboost", "the learner xgboost") from None
    given = {k: v for k, v in learner.params.items() if k not in ROUNDS}
    rounds = min([whole("xgboost", learner.params, name, 100) for name in ROUNDS if name in learner.params] or [100])
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
    try:
        train = xgb.DMatrix(x, label=y, nthread=data.threads)
        if sizes is not None:
            train.set_group(sizes)
        booster = xgb.train(params, train, num_boost_round=rounds)
    except (xgb.core.XGBoostError, TypeError, ValueError) as e:
        said = re.sub(r"^\[[\d:]+\] \S+: ", "", first_line(e))
        if culprit := next((n for n, v in given.items() if not _readable(xgb, n, v)), None):
            said = f"{culprit}={given[culprit]!r}: {said}"
        raise Invalid(
            f"XGBoost refused to train: {said}.", hint="Check the learner's parameters and the values of features."
        ) from None
    known = {*_settings(json.loads(booster.save_config())), *ROUNDS, "eval_metric", "verbosity"}
    require_known("xgboost", given, known)
    booster.set_param({"nthread": 1})
    return Fitted(
        "xgboost",
        booster,
        predictor(booster),
        {**params, "n_estimators": rounds},
        lambda: xgboost_to_onnx(booster, data.x.shape[1], data.task),
    )


def _readable(xgb: Any, name: str, value: object) -> bool:
    try:
        xgb.Booster({name: value, "verbosity": 0}).save_config()
    except (xgb.core.XGBoostError, TypeError, ValueError):
        return False
    return True


def _settings(config: Any) -> Iterator[str]:
    """Every name in a booster's configuration: what it knows, with the values it used."""
    for part in config if isinstance(config, list) else [config]:
        if isinstance(part, dict):
            for name, value in part.items():
                yield name
                yield from _settings(value)
