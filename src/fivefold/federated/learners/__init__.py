"""Learners as functions of a flat vector of parameters, one file each: what a strategy moves, and what is exported."""

from __future__ import annotations

import importlib
from typing import Protocol

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.federation import TRAINED
from fivefold.core.learning import Learner
from fivefold.federated.contribution import Layout
from fivefold.models.fitted import Fitted
from fivefold.models.formats.linear import Columns


class Rows(Protocol):
    """A site's rows, ready for a learner. Losses are means over rows; gradients are of them, `(k,)` float64."""

    count: int

    def gradient(
        self, parameters: np.ndarray, batch: np.ndarray | None, with_loss: bool = True
    ) -> tuple[float, np.ndarray]:
        """Mean loss of some rows (all for None), penalty included, and its gradient; 0 for the loss if not wanted."""
        ...

    def row_gradients(self, parameters: np.ndarray, batch: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The loss of each row `(b,)` and its gradient `(b, k)`, without penalty."""
        ...


class SelfTrained(Protocol):
    """Rows of a learner that takes its local steps itself."""

    count: int

    def train(self, parameters: np.ndarray, epochs: int, seed: int) -> tuple[np.ndarray, float]:
        """The parameters after some passes over the rows, and the mean loss before."""
        ...


class Trainable(Protocol):
    """A learner whose model is a flat vector of parameters, laid out in named arrays."""

    layout: Layout

    def start(self, seed: int) -> np.ndarray:
        """The parameters `(k,)` that training begins with, the same for the same seed."""
        ...

    def rows(self, x: np.ndarray, y: np.ndarray) -> Rows | SelfTrained:
        """Rows `(n, features)` with NaN for null, and labels `(n,)`, as this learner takes them."""
        ...

    def fitted(self, parameters: np.ndarray) -> Fitted:
        """The model, as the same learner fitted in one place would give it."""
        ...


def trainable(learner: Learner, columns: Columns, task: str, *, total: int, classes: int | None = None) -> Trainable:
    """A learner over columns described alike on all sites; `total` is the number of all sites' rows, for penalties.

    Raises Invalid for a learner that cannot be trained by steps, Unsupported for a task that it does not do.
    """
    if learner.kind not in TRAINED or learner.kind == "trees":
        steps = [kind for kind in TRAINED if kind != "trees"]
        raise Invalid(f"the learner {learner.kind} is not trained by steps (accepted: {', '.join(steps)}).")
    module = "linear" if learner.kind == "logistic" else learner.kind
    made: Trainable = importlib.import_module(f"fivefold.federated.learners.{module}").make(
        learner, columns, task, total, classes
    )
    return made
