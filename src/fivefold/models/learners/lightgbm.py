"""Gradient-boosted trees by LightGBM (Ke et al. 2017)."""

from __future__ import annotations

from typing import Any

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats import first_line
from fivefold.models.formats.lightgbm import predictor
from fivefold.models.learners.parameters import require_known, whole

OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression", "ranking": "lambdarank"}


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit a booster; parameters are LightGBM's own, `n_estimators` the number of rounds.

    Raises Invalid for a parameter that LightGBM does not have (it would ignore it) and for a value it refuses.
    """
    try:
        import lightgbm as lgb
    except ImportError:
        raise missing_extra("lightgbm", "lightgbm", "the learner lightgbm") from None
    names: dict[str, list[str]] = lgb.basic._ConfigAliases._get_all_param_aliases()
    main = {alias: name for name, aliases in names.items() for alias in (name, *aliases)}
    require_known("lightgbm", learner.params, main)
    given = {main[name]: value for name, value in learner.params.items()}
    rounds = whole("lightgbm", given, "num_iterations", 100)
    given.pop("num_iterations", None)
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
    except (lgb.basic.LightGBMError, TypeError, ValueError) as e:
        raise Invalid(
            f"LightGBM refused to train: {first_line(e)}.", hint="Check the learner's parameters and the label."
        ) from None
    return Fitted("lightgbm", booster, predictor(booster), {**params, "n_estimators": rounds})
