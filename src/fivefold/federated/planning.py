"""The plans of a federation's rounds, from what was declared: the same on the server and on every site."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fivefold.core.federation import Federation
from fivefold.core.ranges import size
from fivefold.core.strategies import Descent
from fivefold.federated.adding import Planning
from fivefold.federated.contribution import Layout, Terms
from fivefold.federated.describing import RELEASES, Described, Paying
from fivefold.federated.encoding.plan import Plan, exact_plan, widest_bits
from fivefold.federated.privacy.accounting import Curve
from fivefold.federated.privacy.noise import private_plan, terms_under
from fivefold.federated.strategies import State

TRUSTED_BITS = 32
"""Bits of a coordinate where nothing was declared: the server is trusted, and rounding is not felt."""


class Planned(NamedTuple):
    """How each round's contributions are encoded, the terms and the plan of the first, and what one release spends."""

    planning: Planning
    terms: Terms
    plan: Plan
    curve: Curve | None


def planning_of(
    federation: Federation, layout: Layout, cohort: int, described: Described, pay: Paying | None, seed: int
) -> Planned:
    """The plans of a federation, whose contributions are laid out so, with `cohort` sites in a round.

    Server and sites make the same plans of the same arguments. With a promise of privacy, asking for the plan of a
    round pays for it first. Raises Invalid where too few sites, bytes or bits are there.
    """
    dp, secure = federation.dp, federation.secure
    least = secure.min_survivors if secure else 1
    if dp is None:
        bits, limit = secure.bits if secure else TRUSTED_BITS, federation.round_bytes
        if limit is not None:
            bits = widest_bits(layout, 1.0, size(limit, "round_bytes"), cohort=cohort, min_survivors=least, most=bits)

        def exact(terms: Terms, state: State) -> Plan:
            turn = _turn(seed, state)
            return exact_plan(layout, terms.reach, bits=bits, cohort=cohort, min_survivors=least, seed=turn)

        # weights are shares of all rows, so that a mean change is seldom longer than one; where it is, the reach grows
        terms = Terms(total=described.total, reach=1.0)
        return Planned(exact, terms, exact(terms, State(0, {})), None)
    assert isinstance(federation.steps, Descent)
    terms = terms_under(dp, described.total)
    before = RELEASES if dp.unit == "row" else 0
    noise = private_plan(layout, dp, terms, federation.steps.lr, releases=federation.rounds + before, cohort=cohort,
                         min_survivors=least, central=secure is None, seed=_turn(seed, State(0, {})))  # fmt: skip
    paid: set[int] = set()

    def private(terms: Terms, state: State) -> Plan:
        # buckets of a round hold different sites: together they are one release
        if pay is not None and state.round not in paid:
            pay(f"round/{state.round}", f"the sum of round {state.round + 1}", noise.curve)
            paid.add(state.round)
        return msgspec.structs.replace(noise.plan, seed=_turn(seed, state))

    return Planned(private, terms, noise.plan, noise.curve)


def _turn(seed: int, state: State) -> bytes:
    """What turns the vectors of a round: public, and another each round."""
    return f"{seed}/{state.round}".encode()
