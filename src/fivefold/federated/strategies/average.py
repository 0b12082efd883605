"""Federated averaging, with momentum on the server (McMahan et al. 2017; Hsu et al. 2019), and its proximal form."""

from __future__ import annotations

from typing import cast

import numpy as np

from fivefold.core.strategies import FedAdam, FedAvg, FedProx
from fivefold.federated.contribution import Terms, sent_layout
from fivefold.federated.learners import Rows, SelfTrained, Trainable
from fivefold.federated.strategies import PARAMETERS, Memory, State
from fivefold.federated.strategies.local import descend, mean_change, sum_of_rows, weighed


class Average:
    """x += v, v = momentum v + server_lr × the mean change."""

    def __init__(self, how: FedAvg | FedAdam, model: Trainable) -> None:
        self.how = how
        self.layout = sent_layout(update=model.layout.size)
        self._mu = how.mu if isinstance(how, FedProx) else 0.0

    def start(self, parameters: np.ndarray) -> State:
        kept = {"velocity": np.zeros_like(parameters)} if getattr(self.how, "momentum", 0.0) else {}
        return State(0, {PARAMETERS: parameters}, kept)

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        at = state.parameters
        if terms.row_clip is not None:
            return self.layout.flatten(sum_of_rows(cast(Rows, rows), at, self.how.lr, terms)), memory
        after, _, loss = descend(rows, at, self.how, random, pull=self._mu)
        return self.layout.flatten(weighed(after - at, rows.count, loss, terms)), memory

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        assert isinstance(self.how, FedAvg)
        change, _, _ = mean_change(self.layout, total)
        change = self.how.server_lr * change
        kept = dict(state.kept)
        if self.how.momentum:
            change = kept["velocity"] = self.how.momentum * state.kept["velocity"] + change
        return State(state.round + 1, {**state.sent, PARAMETERS: state.parameters + change}, kept)
