"""Logistic and linear regression as functions of their weights."""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import Unsupported
from fivefold.core.learning import Learner
from fivefold.federated.contribution import Layout
from fivefold.models.fitted import Fitted
from fivefold.models.formats.linear import Columns, Linear, linear_predictor
from fivefold.models.learners.logistic import PARAMETERS
from fivefold.models.learners.parameters import number, require_known, whole


class LinearRows:
    """Rows as the design matrix `(n, k)` of a linear model."""

    def __init__(self, design: np.ndarray, y: np.ndarray, binary: bool, penalty: np.ndarray) -> None:
        self.design, self.y, self.binary = design, y, binary
        self.count = len(y)
        self._penalty, self._penalised = penalty, bool(penalty.any())

    def gradient(
        self, parameters: np.ndarray, batch: np.ndarray | None, with_loss: bool = True
    ) -> tuple[float, np.ndarray]:
        design, y = (self.design, self.y) if batch is None else (self.design[batch], self.y[batch])
        n = max(len(y), 1)
        score = design @ parameters
        gradient = slopes(score, y, self.binary) @ design
        gradient /= n
        loss = float(losses(score, y, self.binary).sum()) / n if with_loss else 0.0
        if self._penalised:
            shrink = self._penalty * parameters
            gradient += shrink
            loss += float(shrink @ parameters) / 2 if with_loss else 0.0
        return loss, gradient

    def row_gradients(self, parameters: np.ndarray, batch: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        design, y = (self.design, self.y) if batch is None else (self.design[batch], self.y[batch])
        score = design @ parameters
        return losses(score, y, self.binary), slopes(score, y, self.binary)[:, None] * design


class LinearModel:
    """`l2` penalises the sum of all rows' losses, as it does where the rows are in one place."""

    def __init__(self, columns: Columns, binary: bool, l2: float, total: int, rounds: int, tolerance: float) -> None:
        self.layout = Layout(("weights",), ((columns.width,),))
        self.columns, self.binary, self.total = columns, binary, total
        self.l2, self.rounds_at_most, self.tolerance = l2, rounds, tolerance
        self._penalty = np.full(columns.width, l2 / max(total, 1))
        self._penalty[0] = 0.0

    def start(self, seed: int) -> np.ndarray:
        return np.zeros(self.layout.size)

    def rows(self, x: np.ndarray, y: np.ndarray) -> LinearRows:
        return LinearRows(self.columns.design(x), np.asarray(y, dtype=np.float64), self.binary, self._penalty)

    def fitted(self, parameters: np.ndarray) -> Fitted:
        model = Linear(self.columns, tuple(parameters.tolist()), "binary" if self.binary else "regression")
        return Fitted("linear", model, linear_predictor(model), {"l2": self.l2})


def make(learner: Learner, columns: Columns, task: str, total: int, classes: int | None) -> LinearModel:
    """The learner `logistic` over columns. Raises Unsupported for more than two classes, Invalid for a parameter."""
    require_known("logistic", learner.params, PARAMETERS)
    if task not in ("binary", "regression"):
        raise Unsupported(f"the learner logistic does not do {task}.", hint="Use the learner torch.")
    l2 = number("logistic", learner.params, "l2", 1.0, 0.0)
    rounds = whole("logistic", learner.params, "max_iter", 25)
    tolerance = number("logistic", learner.params, "tolerance", 1e-8, 0.0)
    return LinearModel(columns, task == "binary", l2, total, rounds, tolerance)


def slopes(score: np.ndarray, y: np.ndarray, binary: bool) -> np.ndarray:
    """The derivative `(n,)` of each row's loss by its score; a probability is 1/2 + tanh(score / 2) / 2."""
    if not binary:
        return np.asarray(score - y)
    out: np.ndarray = np.tanh(0.5 * score)
    out *= 0.5
    out += 0.5
    out -= y
    return out


def losses(score: np.ndarray, y: np.ndarray, binary: bool) -> np.ndarray:
    """Each row's loss `(n,)`: of the log-likelihood, or half the squared error."""
    if not binary:
        return np.asarray((score - y) ** 2 / 2)
    return np.asarray(np.maximum(score, 0.0) - y * score + np.log1p(np.exp(-np.abs(score))))
