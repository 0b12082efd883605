"""Trees grown by several sites: every question is answered by a sum of whole numbers over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.adding import modular_sum
from fivefold.federated.encoding.whole import bits_for, decode_whole, encode_whole
from fivefold.models.fitted import Fitted
from fivefold.models.learners.trees import fitted
from fivefold.models.statistics import GRAINS, POWERS
from fivefold.models.trees.bins import CELLS
from fivefold.models.trees.forest import FINE, Settings
from fivefold.models.trees.growth import Growth, TreeRows, grow, start, step

MOST = {"exponents": 1, "moments": GRAINS**2, "cells": 1, "levels": 2 * FINE}
"""The most that a row adds to a number, by stage: gradients are at most 2, Hessians at most 1."""
GROWTH = "growth"

AddingWhole = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From int64 vectors of one length, one a site, to their sum in int64."""


def exact_sum(answers: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of int64 vectors."""
    return np.asarray(np.sum(np.stack(answers), axis=0))


def modulus_bits(growth: Growth, total: int) -> int:
    """The bits of a modulus that the next sum cannot overflow, over sites with `total` rows in all."""
    if growth.stage not in MOST:
        raise Invalid("the trees are grown: nothing is asked any more.")
    return bits_for(total * MOST[growth.stage])


def grow_together(
    settings: Settings, features: int, binary: bool, sites: Sequence[TreeRows], add: AddingWhole = exact_sum
) -> Growth:
    """Trees of all sites' rows: to the last bit those that one site with all of them would grow."""
    if not sites:
        raise Invalid("no site is there to grow trees.")
    return grow(settings, features, binary, lambda growth: add([site.tell(growth) for site in sites]))


class Part(Protocol):
    """The sum of some sites' vectors, and whose they are."""

    @property
    def vector(self) -> np.ndarray: ...


class _Questions:
    """Trees as rounds over a network see them: one length and one number of bits for every question."""

    def __init__(self, settings: Settings, features: int, binary: bool, total: int) -> None:
        self._begun = start(settings, features, binary)
        columns, levels = features + 1, 2 ** (settings.depth - 1) * features * (settings.bins + 1) * 3
        self.length = max(columns * POWERS, features * CELLS, levels)
        """Numbers in a site's vector: a shorter answer is filled up with zeros."""
        self.bits = max(bits_for(total * most) for most in MOST.values())
        """Bits of each of them, for sites that have at most `total` rows together."""

    def _growth(self, arrays: Mapping[str, np.ndarray]) -> Growth:
        return msgspec.json.decode(arrays[GROWTH].tobytes(), type=Growth)


class Server(_Questions):
    """The server's side: its state is one array, the bytes of what is known."""

    def begin(self) -> dict[str, np.ndarray]:
        """The state before the first question."""
        return _stored(self._begun)

    def broadcast(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What sites are sent."""
        return dict(state)

    def step(self, parts: Sequence[Part], state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The state after an answer. Raises Invalid for a sum of another length, and once the trees are grown."""
        growth = self._growth(state)
        total = modular_sum([part.vector for part in parts], 64)
        if total.shape != (self.length,) or growth.done:
            raise Invalid(f"a sum of the shape {total.shape} is not asked for (accepted: ({self.length},)).")
        return _stored(step(growth, decode_whole(total, self.bits)[: growth.size]))

    def epsilon(self, rounds: int) -> None:
        """Trees promise none."""

    def done(self, state: Mapping[str, np.ndarray]) -> bool:
        """Whether the trees are grown."""
        return self._growth(state).done

    def fitted(self, state: Mapping[str, np.ndarray]) -> Fitted:
        """The grown trees, to be packaged. Raises Invalid while they grow."""
        return fitted(self._growth(state))


class Site(_Questions):
    """A site's side, over its rows."""

    def over(self, x: np.ndarray, y: np.ndarray) -> Site:
        """This site with its rows `(n, features)` and labels `(n,)`."""
        self._rows = TreeRows(x, y)
        return self

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The answer `(length,)` uint64 to what the server asks."""
        told = self._rows.tell(self._growth(arrays))
        return encode_whole(np.concatenate([told, np.zeros(self.length - len(told), dtype=np.int64)]), self.bits)


def _stored(growth: Growth) -> dict[str, np.ndarray]:
    return {GROWTH: np.frombuffer(msgspec.json.encode(growth), np.uint8)}
