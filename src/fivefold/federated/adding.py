"""Ways to add up the contributions of a round: in the clear, modulo R, by a robust rule, in buckets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.robust import Rule
from fivefold.federated.contribution import Layout, Terms
from fivefold.federated.encoding.codec import decode, encode
from fivefold.federated.encoding.plan import Plan
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.robust.buckets import combine_buckets, draw_buckets
from fivefold.federated.robust.checks import admit
from fivefold.federated.robust.rules import combine
from fivefold.federated.strategies import State

Adding = Callable[[Sequence[np.ndarray], Terms, State], np.ndarray]
"""From what the sites of a round sent, its terms and the state they saw, to what the strategy takes for the sum."""
ModularSum = Callable[[Sequence[np.ndarray], int], np.ndarray]
"""The sum of uint64 vectors modulo 2**bits: the one thing that a secure sum does, and all that the server sees."""
Planning = Callable[[Terms, State], Plan]
"""The plan of a round, from its terms and the state that sites were sent."""


def plain_sum(
    contributions: Sequence[np.ndarray], terms: Terms | None = None, state: State | None = None
) -> np.ndarray:
    """The sum of float64 vectors, added in the order of the sites."""
    total = contributions[0].copy()
    for vector in contributions[1:]:
        total += vector
    return total


def modular_sum(vectors: Sequence[np.ndarray], bits: int) -> np.ndarray:
    """The sum of uint64 vectors, each number below `2**bits`, modulo that."""
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        # 64 bits overflow to the same remainder, since the modulus divides 2**64
        total += vector
    return total & np.uint64((1 << bits) - 1)


def encoded(planning: Planning, modular: ModularSum = modular_sum, random: RandomBytes = os.urandom) -> Adding:
    """The sum as the server of a secure sum learns it: each contribution encoded, and nothing but their sum decoded."""

    def add(contributions: Sequence[np.ndarray], terms: Terms, state: State) -> np.ndarray:
        plan = planning(terms, state)
        hidden = [encode(vector, plan, random) for vector in contributions]
        return decode(modular(hidden, plan.modulus_bits), len(hidden), plan, random)

    return add


def by_rule(rule: Rule, layout: Layout, own: Callable[[State], np.ndarray] | None = None) -> Adding:
    """A robust rule over contributions that a trusted server sees; what is not as it should be is left out first.

    `own(state)` is the server's own change `(k,)` of that state, for FLTrust.
    """

    def add(contributions: Sequence[np.ndarray], terms: Terms, state: State) -> np.ndarray:
        kept = admit(((str(i), vector) for i, vector in enumerate(contributions)), layout, terms).kept
        return combine(rule, list(kept.values()), layout, own=own(state) if own else None)

    return add


def in_buckets(rule: Rule, layout: Layout, min_survivors: int, adding: Adding, seed: int) -> Adding:
    """A robust rule over the sums of random buckets, each added up by `adding`, with its own plan and its own noise."""

    def add(contributions: Sequence[np.ndarray], terms: Terms, state: State) -> np.ndarray:
        names = [f"{i:06d}" for i in range(len(contributions))]
        buckets = draw_buckets(names, rule, min_survivors, seed + state.round)
        sums = {}
        for i, bucket in enumerate(buckets):
            total = adding([contributions[int(name)] for name in bucket], terms, state)
            if not np.isfinite(total).all():
                raise Invalid(f"the sum of bucket {i} holds numbers that are infinite or none.")
            sums[i] = (total, len(bucket))
        return combine_buckets(rule, sums, layout, min_survivors)

    return add
