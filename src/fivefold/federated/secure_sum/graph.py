"""Who shares masks with whom: everybody with everybody up to a hundred clients, a sparse ring beyond.

The ring is a Harary graph on a random permutation, its degree from tail bounds (Bell et al., CCS 2020, section 3). The
arithmetic is exact, so that clients check a server's choice by making it themselves.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from math import comb
from typing import NamedTuple

import numpy as np

from fivefold.federated.secure_sum.keys import bound

COMPLETE_UP_TO = 100
UNSAFE_BITS = 80
"""The ring is unsafe with a chance below 2**-40, even if a server tries 2**40 rosters for an unlucky permutation."""

LOST_BITS = 30
"""And the sum is lost with one below 2**-30, when as many clients vanish as are allowed for."""


class Shape(NamedTuple):
    """How many neighbours each client has, and how many shares, of theirs and its own, give its secrets away."""

    degree: int
    threshold: int


@lru_cache(maxsize=64)
def shape(clients: int, corrupt: int, dropout: int) -> Shape:
    """The shape of a graph of so many clients; `corrupt` and `dropout` are per cent.

    A threshold t is safe against a server that cheats when 2t exceeds holders + corrupt holders: two sets of survivors
    cannot both find t consents then (Bonawitz, section 6.2).
    """
    if clients > COMPLETE_UP_TO:
        # grows with the degree, so the smallest that will do is found by halving
        low, high = 1, (clients - 1) // 2
        while low < high:
            half = (low + high) // 2
            low, high = (low, half) if _ring(clients, 2 * half, corrupt, dropout) else (half + 1, high)
        threshold = _ring(clients, 2 * low, corrupt, dropout)
        if threshold and 2 * low < clients - 1:
            return Shape(2 * low, threshold)
    return Shape(clients - 1, (clients + clients * corrupt // 100) // 2 + 1)


def _ring(clients: int, degree: int, corrupt: int, dropout: int) -> int:
    """The least safe threshold of a ring; 0 when a ring of this degree is not safe, or would lose sums."""
    bad, gone = clients * corrupt // 100, clients * dropout // 100
    # who is left must hang together: a ring breaks only where half a neighbourhood in a row is corrupt or gone
    half = degree // 2
    if clients * (corrupt + dropout) ** half << UNSAFE_BITS >= 100**half:
        return 0
    low, high = half + 1, degree + 1
    while low < high:
        middle = (low + high) // 2
        safe = _unlikely(clients, degree, bad, 2 * middle - (degree + 1), UNSAFE_BITS)
        low, high = (low, middle) if safe else (middle + 1, high)
    # degree + 1 - gone neighbours must be at least the threshold, also when the client itself is gone
    return low if _unlikely(clients, degree, gone, degree + 1 - low, LOST_BITS) else 0


def _unlikely(clients: int, degree: int, marked: int, least: int, bits: int) -> bool:
    """Whether any client has `least` marked neighbours or more with a chance below 2**-bits (hypergeometric tail)."""
    others = clients - 1
    ways = sum(
        comb(marked, i) * comb(others - marked, degree - i) for i in range(max(0, least), min(degree, marked) + 1)
    )
    return (clients * ways) << bits < comb(others, degree)


class Graph:
    """The graph of a roster, the same to everybody who knows its root."""

    def __init__(self, clients: int, corrupt: int, dropout: int, session: bytes, root: bytes) -> None:
        self.clients = clients
        self.degree, self.threshold = shape(clients, corrupt, dropout)
        self._known: dict[int, tuple[int, ...]] = {}
        self.complete = self.degree == clients - 1
        if not self.complete:
            drawn = hashlib.shake_256(bound("ring", session, root)).digest(8 * clients)
            self._order = np.argsort(np.frombuffer(drawn, ">u8"), kind="stable")
            self._place = np.argsort(self._order)

    def neighbours(self, index: int) -> tuple[int, ...]:
        """The indices of a client's neighbours, ascending."""
        found = self._known.get(index)
        if found is None:
            found = self._known[index] = self._neighbours(index)
        return found

    def holders(self, index: int) -> tuple[int, ...]:
        """Who holds shares of a client's secrets: its neighbours and itself, ascending."""
        return tuple(sorted((*self.neighbours(index), index)))

    def _neighbours(self, index: int) -> tuple[int, ...]:
        if self.complete:
            return (*range(index), *range(index + 1, self.clients))
        half = self.degree // 2
        steps = np.concatenate([np.arange(-half, 0), np.arange(1, half + 1)])
        return tuple(sorted(self._order[(self._place[index] + steps) % self.clients].tolist()))
