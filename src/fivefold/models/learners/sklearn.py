"""Any scikit-learn estimator or pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, missing_extra
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats import first_line
from fivefold.models.formats.onnx import sklearn_to_onnx
from fivefold.models.formats.skops import predictor


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit a clone of the estimator; `learner.params` are set on it, as `set_params` names them."""
    try:
        from sklearn.base import clone
    except ImportError:
        raise missing_extra("scikit-learn", "sklearn", "the learner sklearn") from None
    estimator: Any = clone(learner.object)
    try:
        estimator.set_params(**learner.params)
        estimator.set_params(**_seeded(estimator, data.seed))
        estimator.fit(data.x, data.y if data.task in ("regression", "ranking") else data.y.astype(np.int64))
    except (ValueError, TypeError) as e:
        empty = [n for i, n in enumerate(data.names) if np.isnan(data.x[:, i]).any()]
        if "NaN" in str(e) and empty:
            raise Invalid(
                f"{type(estimator).__name__} takes no nulls, but there are some in {', '.join(empty[:6])}.",
                hint="Put a SimpleImputer before it in a Pipeline, or derive the features with coalesce().",
            ) from None
        bare = ", ".join([n for i, n in enumerate(data.names) if np.isnan(data.x[:, i]).all()][:6])
        if bare:
            raise Invalid(
                f"{type(estimator).__name__} refused to train, and {bare} has no value: {first_line(e)}.",
                hint="Leave out features that are always null.",
            ) from None
        raise Invalid(
            f"{type(estimator).__name__} refused to train: {first_line(e)}.",
            hint="Check the learner's parameters.",
        ) from None
    if data.task in ("binary", "multiclass") and not hasattr(estimator, "predict_proba"):
        raise Invalid(
            f"{type(estimator).__name__} gives no probabilities.",
            hint="Wrap it in CalibratedClassifierCV, or choose an estimator with predict_proba.",
        )
    shown = {k: v for k, v in estimator.get_params(deep=False).items() if isinstance(v, bool | int | float | str)}
    return Fitted(
        "skops",
        estimator,
        predictor(estimator, data.task),
        shown,
        lambda: sklearn_to_onnx(estimator, data.x.shape[1], data.task),
    )


def _seeded(estimator: Any, seed: int) -> dict[str, int]:
    """A seed for every part that takes one and has none."""
    return {
        name: seed
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "random_state" and value is None
    }
