"""Random buckets of sites: the server learns the sum of each, and rules compare those (Karimireddy et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.robust import Rule
from fivefold.federated.contribution import Layout
from fivefold.federated.robust.rules import combine


def draw_buckets(sites: Sequence[str], rule: Rule, min_survivors: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Sites shuffled into as many buckets as have at least `min_survivors` each, sizes differing by one at most.

    Raises Invalid when these are fewer than two, or than the rule needs.
    """
    count = len(sites) // min_survivors
    if count < max(2, rule.least()):
        raise Invalid(
            f"{len(sites)} sites fill {count} buckets of min_survivors={min_survivors}, and {type(rule).__name__} "
            f"needs {max(2, rule.least())}.",
            hint="Ask more sites in a round, or accept fewer survivors.",
        )
    if len(set(sites)) != len(sites):
        raise Invalid("a site is named twice.", hint="Each may be in one bucket only.")
    shuffled = [sorted(sites)[i] for i in np.random.default_rng(seed).permutation(len(sites))]
    return tuple(tuple(shuffled[i::count]) for i in range(count))


def combine_buckets(
    rule: Rule, sums: Mapping[int, tuple[np.ndarray, int]], layout: Layout, min_survivors: int
) -> np.ndarray:
    """What a strategy takes for the sum, from each bucket's sum and how many sites are in it.

    Buckets below `min_survivors` may not have been opened at all. Raises Invalid for one that was, and when fewer are
    left than the rule needs.
    """
    for bucket, (_, survivors) in sums.items():
        if survivors < min_survivors:
            raise Invalid(f"bucket {bucket} has {survivors} sites, fewer than min_survivors={min_survivors}.")
    return combine(rule, [total for total, _ in sums.values()], layout, what="buckets")
