"""A federation in one process: the same strategies over sites in memory, added up by any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.adding import Adding, plain_sum
from fivefold.federated.contribution import CLIPPED, LOSS, WEIGHT, Terms
from fivefold.federated.encoding.plan import next_reach
from fivefold.federated.learners import Rows, SelfTrained
from fivefold.federated.strategies import Memory, Running, State

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
    adapt: bool = False,
    watch: Watching | None = None,
    until: Callable[[Round], bool] | None = None,
) -> History:
    """Rounds of a strategy from parameters `start` `(k,)`; the same arguments give the same history.

    Each round asks `cohort` sites drawn at random, all by default. With `adapt` the reach of the terms grows where a
    site had to cut its change. Rounds end early when the strategy is done or `until` says so of one. Raises Invalid for
    a cohort larger than there are sites.
    """
    asked = len(sites) if cohort is None else cohort
    if not 1 <= asked <= len(sites):
        raise Invalid(f"cohort={cohort!r} of {len(sites)} sites (accepted: 1 to {len(sites)}).")
    drawing = np.random.default_rng([seed, 0])
    randoms = [np.random.default_rng([seed, 1, i]) for i in range(len(sites))]
    state, memories = strategy.start(start), [dict[str, np.ndarray]() for _ in sites]
    loss_at, weight_at, clipped_at = (strategy.layout.places[n].start for n in (LOSS, WEIGHT, CLIPPED))
    history: list[Round] = []
    for number in range(1, rounds + 1):
        chosen = range(len(sites)) if asked == len(sites) else np.sort(drawing.choice(len(sites), asked, replace=False))
        sent, remembered = [], []
        for i in chosen:
            vector, memory = strategy.contribution(state, memories[i], sites[i], terms, randoms[i])
            sent.append(vector)
            remembered.append(memory)
        total = add(sent, terms, state)
        state = strategy.step(state, total, len(sent))
        if adapt:
            terms = msgspec.structs.replace(terms, reach=next_reach(terms.reach, float(total[clipped_at])))
        for i, memory in zip(chosen, remembered, strict=True):
            memories[i] = dict(memory)
        measured = watch(state) if watch else None
        history.append(Round(number, tuple(int(i) for i in chosen), float(total[loss_at] / total[weight_at]), measured))
        if state.done or (until is not None and until(history[-1])):
            break
    return History(state, tuple(memories), tuple(history))
