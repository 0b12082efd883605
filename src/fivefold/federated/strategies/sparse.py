"""Only the largest numbers of a change are sent; what was left out is added to the next one (Stich et al. 2018)."""

from __future__ import annotations

import math

import numpy as np

from fivefold.federated.contribution import SCALARS, Terms
from fivefold.federated.learners import Rows, SelfTrained
from fivefold.federated.strategies import Memory, Running, State

LEFT = "left out"


class Largest:
    """Another strategy of which a site sends the `keep` share of each change: the numbers that are largest in size.

    The rest is the site's memory (error feedback), so that nothing is lost but time. For a server that sees each
    contribution: which numbers a site sends is told by where they are.
    """

    def __init__(self, inner: Running, keep: float) -> None:
        self.inner, self.layout = inner, inner.layout
        self.count = max(1, math.ceil(keep * (self.layout.size - len(SCALARS))))

    @property
    def bytes(self) -> int:
        """What a contribution takes on the wire: a place of 4 bytes and a number of 8 for each that is kept."""
        return 12 * self.count + 8 * len(SCALARS)

    def start(self, parameters: np.ndarray) -> State:
        return self.inner.start(parameters)

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        inside = {name: array for name, array in memory.items() if name != LEFT}
        vector, after = self.inner.contribution(state, inside, rows, terms, random)
        place = self.layout.places["update"]
        whole = vector[place] + memory.get(LEFT, 0.0)
        left = whole.copy()
        largest = np.argpartition(np.abs(whole), len(whole) - self.count)[len(whole) - self.count :]
        left[largest] = 0.0
        vector[place] = whole - left
        return vector, {**after, LEFT: left}

    def step(self, state: State, total: np.ndarray, survivors: int) -> State:
        return self.inner.step(state, total, survivors)
