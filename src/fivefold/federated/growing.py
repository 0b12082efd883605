"""Trees grown by several sites: every question is answered by a sum of whole numbers over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fivefold.core.errors import Invalid
from fivefold.federated.encoding.whole import bits_for
from fivefold.models.statistics import GRAINS
from fivefold.models.trees.forest import FINE, Settings
from fivefold.models.trees.growth import Growth, TreeRows, grow

AddingWhole = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From int64 vectors of one length, one a site, to their sum in int64."""


def exact_sum(answers: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of int64 vectors."""
    return np.asarray(np.sum(np.stack(answers), axis=0))


def modulus_bits(growth: Growth, total: int) -> int:
    """The bits of a modulus that the next sum cannot overflow, over sites with `total` rows in all.

    Gradients are at most 2, Hessians at most 1; values and squares of columns at most `GRAINS` squared a row.
    """
    most = {"exponents": 1, "moments": GRAINS**2, "cells": 1, "levels": 2 * FINE}
    if growth.stage not in most:
        raise Invalid("the trees are grown: nothing is asked any more.")
    return bits_for(total * most[growth.stage])


def grow_together(
    settings: Settings, features: int, binary: bool, sites: Sequence[TreeRows], add: AddingWhole = exact_sum
) -> Growth:
    """Trees of all sites' rows: to the last bit those that one site with all of them would grow."""
    if not sites:
        raise Invalid("no site is there to grow trees.")
    return grow(settings, features, binary, lambda growth: add([site.tell(growth) for site in sites]))
