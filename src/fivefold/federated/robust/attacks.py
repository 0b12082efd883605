"""Attacks on federated learning, to try rules on: from what honest sites would send to what `count` false ones send.

Changes are `(n, k)` float64, one honest site a row. They assume an attacker who knows all honest changes.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np


def label_flip(y: np.ndarray, classes: int = 2) -> np.ndarray:
    """Labels `(n,)` turned round: 0 for the last class, and so on; the site then trains as any other."""
    return classes - 1 - y


def sign_flip(honest: np.ndarray, count: int, scale: float = 3.0) -> np.ndarray:
    """The mean change, turned round and made longer."""
    return np.tile(-scale * honest.mean(axis=0), (count, 1))


def scaled_backdoor(honest: np.ndarray, count: int, goal: np.ndarray, sites: int) -> np.ndarray:
    """A change to `goal` `(k,)`, so long that the mean of all `sites` becomes it (model replacement, Bagdasaryan et al.
    2020)."""
    return np.tile((sites * goal - honest.sum(axis=0)) / count, (count, 1))


def little_is_enough(honest: np.ndarray, count: int) -> np.ndarray:
    """As far from the mean as many honest changes are, in every coordinate to the same side (ALIE, Baruch et al. 2019):
    z is chosen so that, with the attackers, a majority lies on their side."""
    n = len(honest) + count
    supporters = n // 2 + 1 - count
    z = NormalDist().inv_cdf(min(max((n - count - supporters) / (n - count), 0.5), 1 - 1e-9))
    return np.tile(honest.mean(axis=0) - max(z, 0.3) * honest.std(axis=0), (count, 1))


def inner_product(honest: np.ndarray, count: int, scale: float) -> np.ndarray:
    """A multiple of the mean turned round, so that the mean of all points away from descent (IPM, Xie et al. 2020)."""
    return np.tile(-scale * honest.mean(axis=0), (count, 1))


def min_max(honest: np.ndarray, count: int) -> np.ndarray:
    """As far against the mean as is no farther from any honest change than two of those are from each other
    (Shejwalkar and Houmansadr 2021)."""
    mean = honest.mean(axis=0)
    direction = -mean / max(float(np.linalg.norm(mean)), 1e-300)
    widest = max(float(np.linalg.norm(honest - row, axis=1).max()) for row in honest)
    low, high = 0.0, 1.0
    while _farthest(honest, mean + high * direction) <= widest and high < 1e9:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _farthest(honest, mean + middle * direction) <= widest else (low, middle)
    return np.tile(mean + low * direction, (count, 1))


def _farthest(honest: np.ndarray, point: np.ndarray) -> float:
    return math.sqrt(float(np.max(np.sum((honest - point) ** 2, axis=1))))
