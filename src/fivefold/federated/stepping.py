"""The rounds of a federation as a network sees them: the server's state is arrays, a site gives unsigned numbers.

`Server` and `Site` are made on both sides of the same declaration and description. Whoever moves the vectors needs to
know `length` and `bits` only: each number is below `2**bits`, and sums are of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.federation import Federation
from fivefold.federated.adding import modular_sum
from fivefold.federated.contribution import CLIPPED, Arrays, Terms
from fivefold.federated.describing import RELEASES, Described, Paying
from fivefold.federated.encoding.codec import decode, encode
from fivefold.federated.encoding.plan import Plan, next_reach
from fivefold.federated.encoding.rounding import RandomBytes
from fivefold.federated.learners import Trainable, trainable
from fivefold.federated.planning import planning_of
from fivefold.federated.privacy.accounting import epsilon
from fivefold.federated.robust.buckets import combine_buckets
from fivefold.federated.robust.checks import admit
from fivefold.federated.robust.rules import combine
from fivefold.federated.strategies import Memory, State, running
from fivefold.models.fitted import Fitted

SENT, KEPT, ROUND, REACH, DONE = "sent/", "kept/", "round", "reach", "done"


class Part(Protocol):
    """The sum of some sites' vectors (one's alone, where the server is trusted), and whose they are."""

    @property
    def vector(self) -> np.ndarray: ...

    @property
    def clients(self) -> Sequence[str]: ...


class _Rounds:
    """What server and sites have in common."""

    def __init__(
        self,
        federation: Federation,
        described: Described,
        task: str,
        sites: int,
        *,
        classes: int | None = None,
        seed: int = 0,
        pay: Paying | None = None,
    ) -> None:
        if federation.steps is None:
            raise Invalid(f"{federation.ref}: trees grow by sums of their own, not by steps.")
        if federation.keep < 1:
            raise Unsupported(f"{federation.ref}: keep={federation.keep:g} is not sent over a network yet.")
        self.federation, self.seed = federation, seed
        self.model: Trainable = trainable(
            federation.trained, described.columns, task, total=described.total, classes=classes
        )
        self.strategy = running(federation.steps, self.model, sites)
        cohort = federation.cohort or sites
        made = planning_of(federation, self.strategy.layout, cohort, described, pay, seed)
        self._planning, self.first, self._plan, self._curve = made

    @property
    def length(self) -> int:
        """Numbers in a site's vector."""
        return self._plan.size

    @property
    def bits(self) -> int:
        """Bits of each of them."""
        return self._plan.bits

    def plan(self, state: State, terms: Terms) -> Plan:
        """How vectors of a round are encoded. Pays for the round first, where it is paid for."""
        return self._planning(terms, state)

    def terms(self, arrays: Arrays) -> Terms:
        """The terms of the round that a state is for."""
        return msgspec.structs.replace(self.first, reach=float(arrays[REACH]))


class Server(_Rounds):
    """The server's side."""

    def begin(self) -> dict[str, np.ndarray]:
        """The state before the first round."""
        return _packed(self.strategy.start(self.model.start(self.seed)), self.first.reach)

    def broadcast(self, state: Arrays) -> dict[str, np.ndarray]:
        """What sites are sent. Pays for the sum that is asked for; raises Conflict when it may not be released."""
        self.plan(_unpacked(state), self.terms(state))
        return {name: array for name, array in state.items() if not name.startswith(KEPT)}

    def step(self, parts: Sequence[Part], state: Arrays) -> dict[str, np.ndarray]:
        """The state after a round, from its sum, the sums of its buckets, or (trusted) every site's vector.

        Raises Invalid for sums that cannot be taken, and then nothing has changed.
        """
        before, terms = _unpacked(state), self.terms(state)
        plan = self.plan(before, terms)
        rule, secure, layout = self.federation.robust, self.federation.secure, self.strategy.layout
        survivors = sum(len(part.clients) for part in parts)
        if rule is None:
            total = decode(modular_sum([p.vector for p in parts], plan.modulus_bits), survivors, plan)
        elif secure is not None:
            sums = {i: (decode(p.vector, len(p.clients), plan), len(p.clients)) for i, p in enumerate(parts)}
            total = combine_buckets(rule, sums, layout, secure.min_survivors)
        else:
            told = ((part.clients[0], decode(part.vector, 1, plan)) for part in parts)
            # rounding lengthens a change by a little, which is no offence
            loose = msgspec.structs.replace(terms, reach=terms.reach * 1.01)
            total = combine(rule, list(admit(told, layout, loose).kept.values()), layout)
        try:
            after = self.strategy.step(before, total, survivors)
        except Invalid:
            if self.federation.dp is None:
                raise
            # the sum is known, so it is spent: this round has come to nothing, and the next is another release
            after = State(before.round + 1, before.sent, before.kept)
        clipped = float(layout.unflatten(total)[CLIPPED])
        return _packed(after, terms.reach if self.federation.dp else next_reach(terms.reach, clipped))

    def epsilon(self, rounds: int) -> float | None:
        """The epsilon of so many rounds, and of the two sums that describe the columns; None where none is promised."""
        dp = self.federation.dp
        if dp is None or self._curve is None:
            return None
        before = RELEASES if dp.unit == "row" else 0
        return epsilon(tuple((rounds + before) * v for v in self._curve), dp.delta)

    def done(self, state: Arrays) -> bool:
        """Whether the strategy has ended by itself."""
        return bool(state[DONE])

    def fitted(self, state: Arrays) -> Fitted:
        """The model of a state, to be packaged."""
        return self.model.fitted(_unpacked(state).parameters)


class Site(_Rounds):
    """A site's side, over its rows `(n, features)` and labels `(n,)`.

    `memory` is what the site keeps to itself (SCAFFOLD's control, its own head or model): store it where it stays.
    """

    def over(self, x: np.ndarray, y: np.ndarray, memory: Memory | None = None) -> Site:
        """This site with its rows, and with what it kept when it was here before."""
        self._rows = self.model.rows(x, y)
        self.memory: Memory = memory or {}
        self._asked = (-1, self.memory)
        return self

    def __call__(self, arrays: Arrays, random: RandomBytes = os.urandom) -> np.ndarray:
        """The vector `(length,)` uint64 of a round, from what the server sent.

        A round that is asked again starts from the memory that it started from before.
        """
        state, terms = _unpacked(arrays), self.terms(arrays)
        before = self._asked[1] if self._asked[0] == state.round else self.memory
        draws = np.random.default_rng(np.frombuffer(random(16), np.uint32))
        vector, after = self.strategy.contribution(state, before, self._rows, terms, draws)
        self._asked, self.memory = (state.round, before), after
        return encode(vector, self.plan(state, terms), random)


def _packed(state: State, reach: float) -> dict[str, np.ndarray]:
    return {
        ROUND: np.array(state.round, dtype=np.int64),
        DONE: np.array(int(state.done), dtype=np.int64),
        REACH: np.array(reach),
        **{SENT + name: array for name, array in state.sent.items()},
        **{KEPT + name: array for name, array in state.kept.items()},
    }


def _unpacked(arrays: Mapping[str, np.ndarray]) -> State:
    def under(prefix: str) -> dict[str, np.ndarray]:
        return {n.removeprefix(prefix): np.asarray(a) for n, a in arrays.items() if n.startswith(prefix)}

    return State(int(arrays[ROUND]), under(SENT), under(KEPT), bool(arrays[DONE]))
