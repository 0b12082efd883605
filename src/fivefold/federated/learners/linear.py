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
        self._penalty = penalty

    def gradient(self, parameters: np.ndarray, batch: np.ndarray | None) -> tuple[float, np.ndarray]:
        design, y = (self.design, self.y) if batch is None else (self.design[batch], self.y[batch])
        losses, residual = _losses(design @ parameters, y, self.binary)
        shrink = self._penalty * parameters
        n = max(len(y), 1)
        loss = float(losses.sum()) / n + float(shrink @ parameters) / 2
        return loss, residual @ design / n + shrink

    def row_gradients(self, parameters: np.ndarray, batch: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        design, y = (self.design, self.y) if batch is None else (self.design[batch], self.y[batch])
        losses, residual = _losses(design @ parameters, y, self.binary)
        return losses, residual[:, None] * design


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


def _losses(score: np.ndarray, y: np.ndarray, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each row's loss, and its derivative by the score."""
    if not binary:
        residual = score - y
        return residual * residual / 2, residual
    small = np.exp(-np.abs(score))
    mean = np.where(score >= 0, 1.0, small) / (1.0 + small)
    return np.maximum(score, 0.0) - y * score + np.log1p(small), mean - y
