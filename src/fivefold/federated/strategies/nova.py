"""Normalised averaging (Wang et al. 2020, "Tackling the Objective Inconsistency Problem", with plain local steps)."""

from __future__ import annotations

import numpy as np

from fivefold.core.strategies import FedNova
from fivefold.federated.contribution import SCALARS, Layout, Terms
from fivefold.federated.learners import Rows, SelfTrained, Trainable
from fivefold.federated.strategies import PARAMETERS, Memory, State
from fivefold.federated.strategies.local import descend, mean_change, weighed


class Normalised:
    """x += server_lr × (mean of steps) × (mean of changes per step)."""

    def __init__(self, how: FedNova, model: Trainable) -> None:
        self.how = how
        self.layout = Layout(("update", "steps", *SCALARS), ((model.layout.size,), *((),) * 4))

    def start(self, parameters: np.ndarray) -> State:
        return State(0, {PARAMETERS: parameters})

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        at = state.parameters
        after, steps, loss = descend(rows, at, self.how, random)
        sent = weighed((after - at) / max(steps, 1), rows.count, loss, terms)
        return self.layout.flatten({**sent, "steps": steps * terms.weight(rows.count)}), memory

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        change, sums, weight = mean_change(self.layout, total)
        steps = float(sums["steps"]) / weight
        at = state.parameters + self.how.server_lr * steps * change
        return State(state.round + 1, {**state.sent, PARAMETERS: at})
