"""Any object of the project with `fit` and `predict`."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted


def fit(data: Data, learner: Learner) -> Fitted:
    """Fit a fresh copy: a class is made with the parameters, an object copied. It is stored as a pickle.

    `predict(x)` must give `(n,)`, the probability of true for a binary task, or `(n, k)` probabilities.
    """
    given = learner.object
    model: Any = given(**learner.params) if inspect.isclass(given) else copy.deepcopy(given)
    for method in ("fit", "predict"):
        if not callable(getattr(model, method, None)):
            raise Invalid(
                f"{type(model).__name__} has no method {method!r}.", hint="It needs fit(x, y) and predict(x)."
            )
    model.fit(data.x, data.y)
    return Fitted("pickle", model, lambda x: np.asarray(model.predict(x), dtype=np.float64), dict(learner.params))
