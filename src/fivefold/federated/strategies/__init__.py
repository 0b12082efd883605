"""Strategies, pure: what a site makes of its rows in a round, and how the server's state moves by the sum of that.

A strategy sees a contribution only as its sum over sites, so any way of adding up will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec
import numpy as np

from fivefold.core import strategies as nouns
from fivefold.federated.contribution import Layout, Terms
from fivefold.federated.learners import Rows, SelfTrained, Trainable

PARAMETERS = "parameters"


class State(msgspec.Struct, frozen=True):
    """The server's state after `round` rounds: what sites are sent, and what the server keeps; float64 arrays by name.

    `sent["parameters"]` `(k,)` is the common model. `done` is set by strategies that end by themselves.
    """

    round: int
    sent: Mapping[str, np.ndarray]
    kept: Mapping[str, np.ndarray] = {}
    done: bool = False

    @property
    def parameters(self) -> np.ndarray:
        return self.sent[PARAMETERS]


Memory = Mapping[str, np.ndarray]
"""What a site keeps to itself between rounds, float64 arrays by name; empty at first. It is renewed only when the
contribution that was made with it is known to be in the sum."""


class Running(Protocol):
    """A strategy over one learner."""

    layout: Layout
    """Of a contribution."""

    def start(self, parameters: np.ndarray) -> State:
        """The state before the first round."""
        ...

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        """What a site sends, laid out as `layout`, and what it remembers if that is taken."""
        ...

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        """The state after the sum of the contributions of `survivors` sites, which is laid out as `layout`.

        Raises Invalid when their weights are no positive number.
        """
        ...


def running(strategy: nouns.Strategy, model: Trainable, sites: int) -> Running:
    """A declared strategy over a learner, for so many sites in all."""
    from fivefold.federated.strategies.adaptive import Adaptive
    from fivefold.federated.strategies.average import Average
    from fivefold.federated.strategies.newton import SumsOfNewton
    from fivefold.federated.strategies.nova import Normalised
    from fivefold.federated.strategies.personal import Bodies, OwnModels
    from fivefold.federated.strategies.scaffold import Corrected

    match strategy:
        case nouns.Newton():
            return SumsOfNewton(strategy, model)
        case nouns.FedAdam():
            return Adaptive(strategy, model)
        case nouns.FedNova():
            return Normalised(strategy, model)
        case nouns.Scaffold():
            return Corrected(strategy, model, sites)
        case nouns.Ditto():
            return OwnModels(strategy, model)
        case nouns.SharedBody():
            return Bodies(strategy, model)
    return Average(strategy, model)
