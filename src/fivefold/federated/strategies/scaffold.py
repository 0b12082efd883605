"""SCAFFOLD: local steps without client drift (Karimireddy et al. 2020, algorithm 1 with option II)."""

from __future__ import annotations

import numpy as np

from fivefold.core.strategies import Scaffold
from fivefold.federated.contribution import CLIPPED, Terms, cut, sent_layout
from fivefold.federated.learners import Rows, SelfTrained, Trainable
from fivefold.federated.strategies import PARAMETERS, Memory, State
from fivefold.federated.strategies.local import descend, mean_change, weighed


class Corrected:
    """The server's control is the mean of the sites' controls; each site steps by gradient - its own + the server's.

    `sites` is how many there are in all, of whom a round may ask some only. Sites count by their rows, in the controls
    as in the model: the fixed point is the optimum of all rows.
    """

    def __init__(self, how: Scaffold, model: Trainable, sites: int) -> None:
        self.how, self.sites = how, sites
        self.layout = sent_layout(update=model.layout.size, control=model.layout.size)

    def start(self, parameters: np.ndarray) -> State:
        return State(0, {PARAMETERS: parameters, "control": np.zeros_like(parameters)})

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        at, everyone = state.parameters, state.sent["control"]
        own = memory.get("control", np.zeros_like(at))
        after, steps, loss = descend(rows, at, self.how, random, correction=everyone - own)
        moved = (at - after) / (max(steps, 1) * self.how.lr) - everyone
        sent = weighed(after - at, rows.count, loss, terms)
        weight = terms.weight(rows.count)
        told, taken = cut(weight * moved, terms.reach)
        if taken:
            sent[CLIPPED] = weight
        # what is remembered is what was told, so that the server's control stays the mean of the sites'
        return self.layout.flatten({**sent, "control": told}), {"control": own + told / weight}

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        change, sums, weight = mean_change(self.layout, total)
        part = survivors / max(self.sites, survivors)
        sent = {
            PARAMETERS: state.parameters + self.how.server_lr * change,
            "control": state.sent["control"] + part * sums["control"] / weight,
        }
        return State(state.round + 1, sent)
