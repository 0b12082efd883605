"""Gradient-boosted trees of our own, grown level by level from sums, so that they can be federated."""

from __future__ import annotations

import msgspec

from fivefold.core.errors import Invalid, Unsupported, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats.lightgbm import predictor
from fivefold.models.learners.parameters import require_known
from fivefold.models.trees.forest import Settings
from fivefold.models.trees.growth import Growth, TreeRows, grow
from fivefold.models.trees.text import lightgbm_text


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit trees of at most 5 levels; they are stored and served as LightGBM's.

    Parameters: `trees` (50), `depth` (4), `learning_rate` (0.1), `bins` (32), `l2` (1.0), `min_hessian` (1.0),
    `min_rows` (20). Categories are taken as ordered numbers. The same rows in any order give the same trees. Raises
    Unsupported for more than two classes, Invalid for a wrong parameter.
    """
    rows = TreeRows(data.x, data.y)
    growth = grow(settings(learner, data.task), data.x.shape[1], data.task == "binary", rows.tell)
    return fitted(growth)


def settings(learner: Learner, task: str) -> Settings:
    """How the trees of a learner are grown. Raises Unsupported for another task, Invalid for a wrong parameter."""
    require_known("trees", learner.params, Settings.__struct_fields__)
    if task not in ("binary", "regression"):
        raise Unsupported(f"the learner trees does not do {task}.", hint="Use lightgbm, xgboost or sklearn.")
    return Settings(**learner.params)


def fitted(growth: Growth) -> Fitted:
    """Grown trees as a LightGBM model. Raises Invalid for trees that are not grown to the end."""
    try:
        import lightgbm as lgb
    except ImportError:
        raise missing_extra("lightgbm", "lightgbm", "the learner trees") from None
    if not growth.done:
        raise Invalid(f"the trees are not grown: {len(growth.trees)} of {growth.settings.trees}.")
    booster = lgb.Booster(model_str=lightgbm_text(growth))
    return Fitted("lightgbm", booster, predictor(booster), msgspec.structs.asdict(growth.settings))
