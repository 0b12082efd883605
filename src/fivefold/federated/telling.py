"""How the contributions of a federation's rounds are told: under which terms, in which whole numbers, at what price."""

from __future__ import annotations

import msgspec

from fivefold.core.federation import Federation
from fivefold.core.ranges import size
from fivefold.core.strategies import Descent
from fivefold.federated.contribution import Layout, Terms
from fivefold.federated.encoding.plan import Plan, exact_plan, widest_bits
from fivefold.federated.privacy.accounting import Curve
from fivefold.federated.privacy.noise import private_plan, terms_under


class Telling(msgspec.Struct, frozen=True):
    """The terms of every round; the whole numbers of one are by `plan`. `curve` is what a round spends, if anything."""

    layout: Layout
    terms: Terms
    cohort: int
    min_survivors: int
    bits: int = 0
    private: Plan | None = None
    curve: Curve | None = None

    def plan(self, reach: float, seed: bytes) -> Plan:
        """The plan of a round in which changes are at most `reach` long (L2), turned by a public seed."""
        if self.private is not None:
            return msgspec.structs.replace(self.private, seed=seed)
        return exact_plan(self.layout, reach, bits=self.bits, cohort=self.cohort, min_survivors=self.min_survivors,
                          seed=seed)  # fmt: skip


def telling(federation: Federation, layout: Layout, cohort: int, total: int, releases: int) -> Telling:
    """How contributions are told to a secure sum, or under a promise, with at most `cohort` sites in a round.

    `total` is the number of all sites' rows; a promise is kept over so many `releases`. Raises Invalid where no noise
    is enough, or `round_bytes` cannot be kept.
    """
    dp, secure = federation.dp, federation.secure
    least = secure.min_survivors if secure else 1
    if dp is None:
        assert secure is not None
        bits, limit = secure.bits, federation.round_bytes
        if limit is not None:
            bits = widest_bits(layout, 1.0, size(limit, "round_bytes"), cohort=cohort, min_survivors=least, most=bits)
        # weights are shares of all rows, so that a mean change is seldom longer than one; where it is, the reach grows
        return Telling(layout, Terms(total=total, reach=1.0), cohort, least, bits)
    assert isinstance(federation.steps, Descent)
    terms = terms_under(dp, total)
    noise = private_plan(layout, dp, terms, federation.steps.lr, releases=releases, cohort=cohort, min_survivors=least,
                         central=secure is None, seed=b"")  # fmt: skip
    return Telling(layout, terms, cohort, least, private=noise.plan, curve=noise.curve)


def turn(seed: int, round: int) -> bytes:
    """What turns the vectors of a round: public, and another each round."""
    return f"{seed}/{round}".encode()
