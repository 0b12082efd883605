"""Robust rules: from the changes of many, a few of which may be false, to one that stands for their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.core.robust import (
    FLTrust,
    GeometricMedian,
    Krum,
    Median,
    NormBound,
    Rule,
    TrimmedMean,
    require_enough,
)
from fivefold.federated.contribution import WEIGHT, Layout

SMALLEST = 1e-6
"""Share of the median distance that Weiszfeld's steps do not go below, so that no weight is infinite."""


def combine(
    rule: Rule,
    contributions: Sequence[np.ndarray],
    layout: Layout,
    *,
    own: np.ndarray | None = None,
    what: str = "sites",
) -> np.ndarray:
    """What a strategy takes for the sum `(layout.size,)` of contributions, or of the sums of buckets.

    The rule combines changes per weight, so that no weight makes a change count for more; the result has the weight
    one, and the median of the other scalars. `own` is the change `(k,)` that the server made of rows it trusts, for
    FLTrust. Raises Invalid when there are fewer than the rule needs.
    """
    require_enough(rule, len(contributions), what)
    given = np.stack(contributions)
    weights = given[:, layout.places[WEIGHT].start]
    each = given / weights[:, None]
    out: np.ndarray = np.median(each, axis=0)
    place = layout.places["update"]
    out[place] = changes(rule, each[:, place], weights, own)
    out[layout.places[WEIGHT]] = 1.0
    return out


def changes(rule: Rule, each: np.ndarray, weights: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """The change `(k,)` that a rule makes of changes `(n, k)`."""
    match rule:
        case NormBound(norm=norm):
            return np.asarray(np.average(_cut(each, norm), axis=0, weights=weights))
        case Median():
            return np.asarray(np.median(each, axis=0))
        case TrimmedMean(cut=count):
            return np.asarray(np.sort(each, axis=0)[count : len(each) - count].mean(axis=0))
        case Krum(attackers=attackers, keep=keep):
            return np.asarray(each[nearest(each, attackers)[:keep]].mean(axis=0))
        case GeometricMedian(steps=steps):
            return geometric_median(each, steps)
        case FLTrust():
            if own is None:
                raise Invalid("FLTrust compares changes with the server's own, and there is none.")
            return trusted(each, own)
    assert_never(rule)


def nearest(each: np.ndarray, attackers: int) -> np.ndarray:
    """Positions in order of the sum of squared distances to the n - f - 2 nearest others (Krum's score)."""
    squares = np.einsum("ij,ij->i", each, each)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2 * each @ each.T, 0.0)
    np.fill_diagonal(apart, np.inf)
    scores = np.sort(apart, axis=1)[:, : len(each) - attackers - 2].sum(axis=1)
    order: np.ndarray = np.argsort(scores, kind="stable")
    return order


def geometric_median(each: np.ndarray, steps: int) -> np.ndarray:
    """The point with the least sum of distances, by so many of Weiszfeld's steps from the coordinates' median."""
    at = np.asarray(np.median(each, axis=0))
    for _ in range(steps):
        distances = np.linalg.norm(each - at, axis=1)
        floor = SMALLEST * float(np.median(distances))
        if floor == 0.0:
            return at  # half of the points are this one: it is the median
        pull = 1 / np.maximum(distances, floor)
        at = np.asarray(pull @ each / pull.sum())
    return at


def trusted(each: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Changes of the length of `own` `(k,)`, weighted by the cosine to it where that is above 0; 0 where none is."""
    length = float(np.linalg.norm(own))
    lengths = np.linalg.norm(each, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.nan_to_num(each @ own / (lengths * length), posinf=0.0, neginf=0.0)
        scaled = np.nan_to_num(each * (length / lengths)[:, None], posinf=0.0, neginf=0.0)
    trust = np.maximum(cosines, 0.0)
    return np.zeros_like(own) if not trust.any() else np.asarray(trust @ scaled / trust.sum())


def _cut(each: np.ndarray, norm: float) -> np.ndarray:
    lengths = np.linalg.norm(each, axis=1)
    return np.asarray(each * (norm / np.maximum(lengths, norm))[:, None])
