"""Adam on the server (Reddi et al. 2021, algorithm 2)."""

from __future__ import annotations

import numpy as np

from fivefold.core.strategies import FedAdam
from fivefold.federated.learners import Trainable
from fivefold.federated.strategies import PARAMETERS, State
from fivefold.federated.strategies.average import Average
from fivefold.federated.strategies.local import mean_change


class Adaptive(Average):
    """x += server_lr m / (sqrt(v) + tau), m and v being running means of the mean change and of its square."""

    def __init__(self, how: FedAdam, model: Trainable) -> None:
        super().__init__(how, model)
        self._adam = how

    def start(self, parameters: np.ndarray) -> State:
        kept = {"mean": np.zeros_like(parameters), "square": np.full_like(parameters, self._adam.tau**2)}
        return State(0, {PARAMETERS: parameters}, kept)

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        how = self._adam
        change, _, _ = mean_change(self.layout, total)
        mean = how.beta1 * state.kept["mean"] + (1 - how.beta1) * change
        square = how.beta2 * state.kept["square"] + (1 - how.beta2) * change**2
        at = state.parameters + how.server_lr * mean / (np.sqrt(square) + how.tau)
        return State(state.round + 1, {**state.sent, PARAMETERS: at}, {"mean": mean, "square": square})
