"""Models of a site's own: beside the common one (Ditto), or above a body that all share (FedPer)."""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import NotFound
from fivefold.core.strategies import Ditto, SharedBody
from fivefold.federated.contribution import Terms, sent_layout
from fivefold.federated.learners import Rows, SelfTrained, Trainable
from fivefold.federated.strategies import PARAMETERS, Memory, State
from fivefold.federated.strategies.average import Average
from fivefold.federated.strategies.local import descend, weighed

OWN = "own"


class OwnModels(Average):
    """Federated averaging, and on each site a model of its own that is pulled to the common one (Li et al. 2021)."""

    def __init__(self, how: Ditto, model: Trainable) -> None:
        super().__init__(how, model)
        self._ditto = how

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        sent, _ = super().contribution(state, memory, rows, terms, random)
        at = state.parameters
        own, _, _ = descend(rows, memory.get(OWN, at), self._ditto, random, pull=self._ditto.pull, toward=at)
        return sent, {OWN: own}

    def personal(self, state: State, memory: Memory) -> np.ndarray:
        """A site's own parameters `(k,)`; the common ones where it has none yet."""
        return memory.get(OWN, state.parameters)


class Bodies(Average):
    """Federated averaging of the body; the head's parameters never leave the site (Arivazhagan et al. 2019)."""

    def __init__(self, how: SharedBody, model: Trainable) -> None:
        super().__init__(how, model)
        head = np.zeros(model.layout.size, dtype=bool)
        for name in how.head:
            found = [place for array, place in model.layout.places.items() if array.startswith(name)]
            if not found:
                raise NotFound.named("array of the model for SharedBody, head=:", name, model.layout.names)
            for place in found:
                head[place] = True
        self._head, self._body = np.flatnonzero(head), np.flatnonzero(~head)
        self.layout = sent_layout(update=len(self._body))

    def start(self, parameters: np.ndarray) -> State:
        # the head as it was at first is sent once more each round: a site that joins late begins with it
        kept = {"velocity": np.zeros(len(self._body))} if self.how.momentum else {}  # type: ignore[union-attr]
        return State(0, {PARAMETERS: parameters[self._body], "first_head": parameters[self._head]}, kept)

    def contribution(
        self, state: State, memory: Memory, rows: Rows | SelfTrained, terms: Terms, random: np.random.Generator
    ) -> tuple[np.ndarray, Memory]:
        at = self.personal(state, memory)
        after, _, loss = descend(rows, at, self.how, random)
        sent = weighed(after[self._body] - at[self._body], rows.count, loss, terms)
        return self.layout.flatten(sent), {OWN: after[self._head]}

    def personal(self, state: State, memory: Memory) -> np.ndarray:
        """All parameters `(k,)` of a site: the common body and its own head."""
        whole = np.empty(len(self._head) + len(self._body))
        whole[self._body] = state.parameters
        whole[self._head] = memory.get(OWN, state.sent["first_head"])
        return whole
