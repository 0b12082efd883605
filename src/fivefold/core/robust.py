"""Rules by which a federation combines what sites send, so that a few of them cannot lead the model astray."""

from __future__ import annotations

import msgspec

from fivefold.core.errors import Invalid
from fivefold.core.noun import define
from fivefold.core.ranges import real, whole


class NormBound(msgspec.Struct, frozen=True):
    """The mean of the sites' changes, none longer than `norm` (L2): no site moves the model by more than its share."""

    norm: float

    def __post_init__(self) -> None:
        define(self, norm=real("NormBound", "norm", self.norm, above=0))

    def least(self) -> int:
        """How many contributions the rule needs."""
        return 1


class Median(msgspec.Struct, frozen=True):
    """The median of each coordinate (Yin et al. 2018)."""

    def least(self) -> int:
        return 3


class TrimmedMean(msgspec.Struct, frozen=True):
    """The mean of each coordinate without its `cut` least and `cut` greatest values (Yin et al. 2018)."""

    cut: int

    def __post_init__(self) -> None:
        whole("TrimmedMean", "cut", self.cut)

    def least(self) -> int:
        """`cut` must be less than half of them."""
        return 2 * self.cut + 1


class Krum(msgspec.Struct, frozen=True):
    """The mean of the `keep` changes that are nearest to their neighbours (Blanchard et al. 2017), `attackers` being
    the most that may be false."""

    attackers: int
    keep: int = 1

    def __post_init__(self) -> None:
        whole("Krum", "attackers", self.attackers)
        whole("Krum", "keep", self.keep)

    def least(self) -> int:
        """n >= 2 f + 3, and none of the `attackers` may have to be kept."""
        return max(2 * self.attackers + 3, self.attackers + self.keep)


class GeometricMedian(msgspec.Struct, frozen=True):
    """The point with the least sum of distances to all changes (Pillutla et al. 2022, smoothed Weiszfeld steps)."""

    steps: int = 32

    def __post_init__(self) -> None:
        whole("GeometricMedian", "steps", self.steps)

    def least(self) -> int:
        return 3


class FLTrust(msgspec.Struct, frozen=True):
    """Changes weighted by how far they point the way of the server's own, on rows it trusts, and cut to its length
    (Cao et al. 2021). For a trusted aggregator only."""

    def least(self) -> int:
        return 1


Rule = NormBound | Median | TrimmedMean | Krum | GeometricMedian | FLTrust


def require_enough(rule: Rule, count: int, what: str) -> None:
    """Raise Invalid when `count` contributions, each of them `what`, are too few for a rule's guarantee."""
    if count < rule.least():
        raise Invalid(
            f"{type(rule).__name__} needs at least {rule.least()} {what}, and there are {count}: with fewer it "
            "withstands nothing.",
            hint="Ask more sites, or allow for fewer attackers.",
        )
