"""A federation in one process: the same strategies over sites in memory, added up by any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.contribution import LOSS, WEIGHT, Terms
from fivefold.federated.learners import Rows, SelfTrained
from fivefold.federated.strategies import Memory, Running, State

Adding = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From what the sites of a round sent to the vector that the strategy takes for their sum."""
Watching = Callable[[State], float]


class Round(msgspec.Struct, frozen=True):
    """What is known after a round: the sites that took part, their mean loss, and what `watch` measured."""

    number: int
    sites: tuple[int, ...]
    loss: float
    measured: float | None = None


class History(msgspec.Struct, frozen=True):
    """The state at the end, what each site remembers, and every round."""

    state: State
    memories: tuple[Memory, ...]
    rounds: tuple[Round, ...]


def plain_sum(contributions: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of float64 vectors, added in the order of the sites."""
    total = contributions[0].copy()
    for vector in contributions[1:]:
        total += vector
    return total


def simulate(
    strategy: Running,
    start: np.ndarray,
    sites: Sequence[Rows | SelfTrained],
    rounds: int,
    *,
    terms: Terms = Terms(),
    cohort: int | None = None,
    seed: int = 0,
    add: Adding = plain_sum,
    watch: Watching | None = None,
    until: Callable[[Round], bool] | None = None,
) -> History:
    """Rounds of a strategy from parameters `start` `(k,)`; the same arguments give the same history.

    Each round asks `cohort` sites drawn at random, all by default, and ends early when the strategy is done or `until`
    says so of a round. Raises Invalid for a cohort larger than there are sites, or when no site is left.
    """
    asked = len(sites) if cohort is None else cohort
    if not 1 <= asked <= len(sites):
        raise Invalid(f"cohort={cohort!r} of {len(sites)} sites (accepted: 1 to {len(sites)}).")
    drawing = np.random.default_rng([seed, 0])
    randoms = [np.random.default_rng([seed, 1, i]) for i in range(len(sites))]
    state, memories = strategy.start(start), [dict[str, np.ndarray]() for _ in sites]
    loss_at, weight_at = strategy.layout.places[LOSS].start, strategy.layout.places[WEIGHT].start
    history: list[Round] = []
    for number in range(1, rounds + 1):
        chosen = range(len(sites)) if asked == len(sites) else np.sort(drawing.choice(len(sites), asked, replace=False))
        sent, remembered = [], []
        for i in chosen:
            vector, memory = strategy.contribution(state, memories[i], sites[i], terms, randoms[i])
            sent.append(vector)
            remembered.append(memory)
        total = add(sent)
        state = strategy.step(state, total, len(sent))
        for i, memory in zip(chosen, remembered, strict=True):
            memories[i] = dict(memory)
        measured = watch(state) if watch else None
        history.append(Round(number, tuple(int(i) for i in chosen), float(total[loss_at] / total[weight_at]), measured))
        if state.done or (until is not None and until(history[-1])):
            break
    return History(state, tuple(memories), tuple(history))
