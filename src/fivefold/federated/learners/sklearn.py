"""scikit-learn's stochastic gradient descent (`SGDClassifier`, `SGDRegressor`), which takes its local steps itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from fivefold.core.errors import Invalid, Unsupported, missing_extra
from fivefold.core.learning import Learner
from fivefold.federated.contribution import Layout
from fivefold.models.fitted import Fitted
from fivefold.models.formats.linear import Columns, Linear, linear_predictor

LOSSES = {"binary": ("log_loss",), "regression": ("squared_error", "huber", "epsilon_insensitive")}
"""Losses whose model predicts what the task asks for: a probability, or a number."""


class SgdRows:
    """Rows as the design matrix without its column of ones, which is scikit-learn's intercept."""

    def __init__(self, estimator: Any, design: np.ndarray, y: np.ndarray, task: str) -> None:
        self.count = len(y)
        self._estimator, self._design, self._binary = estimator, design[:, 1:], task == "binary"
        self._y = y.astype(np.int64) if self._binary else np.asarray(y, dtype=np.float64)

    def train(self, parameters: np.ndarray, epochs: int, seed: int) -> tuple[np.ndarray, float]:
        """`partial_fit` from these parameters, once an epoch, rows shuffled by a seed."""
        from sklearn.base import clone

        model = clone(self._estimator).set_params(random_state=seed)
        model.coef_ = parameters[None, 1:].copy() if self._binary else parameters[1:].copy()
        model.intercept_ = parameters[:1].copy()
        score = self._design @ parameters[1:] + parameters[0]
        if self._binary:
            loss = float(np.mean(np.logaddexp(0.0, score) - self._y * score))
        else:
            loss = float(np.mean((score - self._y) ** 2) / 2)
        model.n_features_in_ = self._design.shape[1]
        for _ in range(epochs):
            if self._binary:
                model.partial_fit(self._design, self._y, classes=np.array([0, 1]))
            else:
                model.partial_fit(self._design, self._y)
        return np.concatenate([model.intercept_.ravel(), model.coef_.ravel()]), loss


class SgdModel:
    """Intercept and coefficients; exported as the linear model that they are."""

    def __init__(self, estimator: Any, columns: Columns, task: str) -> None:
        self.layout = Layout(("intercept", "coef"), ((1,), (columns.width - 1,)))
        self._estimator, self._columns, self._task = estimator, columns, task

    def start(self, seed: int) -> np.ndarray:
        return np.zeros(self.layout.size)

    def rows(self, x: np.ndarray, y: np.ndarray) -> SgdRows:
        return SgdRows(self._estimator, self._columns.design(x), y, self._task)

    def fitted(self, parameters: np.ndarray) -> Fitted:
        model = Linear(self._columns, tuple(parameters.tolist()), self._task)
        return Fitted("linear", model, linear_predictor(model), {"estimator": repr(self._estimator)})


def make(learner: Learner, columns: Columns, task: str, total: int, classes: int | None) -> SgdModel:
    """The learner `sklearn` with an `SGDClassifier` or `SGDRegressor`. Raises Invalid for any other estimator, for a
    loss that gives no probability or number, and for a step that changes with a count that sites do not share."""
    try:
        from sklearn.base import clone
        from sklearn.linear_model import SGDClassifier, SGDRegressor
    except ImportError:
        raise missing_extra("scikit-learn", "sklearn", "the learner sklearn") from None
    wanted = {"binary": SGDClassifier, "regression": SGDRegressor}.get(task)
    if wanted is None:
        raise Unsupported(f"scikit-learn's SGD does not do {task} in a federation.", hint="Use the learner torch.")
    if not isinstance(learner.object, wanted):
        raise Invalid(
            f"a federation trains {wanted.__name__} of scikit-learn, and the learner has a "
            f"{type(learner.object).__name__}.",
            hint="Columns are standardised by the federation: a pipeline is not needed.",
        )
    estimator = clone(learner.object).set_params(**learner.params)
    if estimator.loss not in LOSSES[task]:
        raise Invalid(f"{wanted.__name__}: loss={estimator.loss!r} (accepted: {', '.join(LOSSES[task])}).")
    if estimator.learning_rate != "constant" or estimator.average or not estimator.fit_intercept:
        raise Invalid(
            f"{wanted.__name__}: learning_rate={estimator.learning_rate!r}, average={estimator.average!r}, "
            f"fit_intercept={estimator.fit_intercept!r} (accepted: 'constant', False, True).",
            hint="Other steps depend on how many rows a model has seen, which sites do not share.",
        )
    return SgdModel(estimator, columns, task)
