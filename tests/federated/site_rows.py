"""Rows of several sites, alike or unlike, drawn from one known model."""

from __future__ import annotations

import numpy as np

from fivefold.models.formats.linear import Columns
from fivefold.models.learners.logistic import describe

Part = tuple[np.ndarray, np.ndarray]


def drawn(count: int, seed: int = 0, features: int = 4, shift: float = 0.0) -> Part:
    """Rows `(count, features)` and labels of a logistic model whose weights are 1, -1, 1, ..."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, features)) + shift
    score = x @ np.where(np.arange(features) % 2, -1.0, 1.0) + 0.3
    return x, (random.random(count) < 1 / (1 + np.exp(-score))).astype(np.float64)


def unlike(sites: int, each: int = 60) -> list[Part]:
    """Sites of different sizes, about different means."""
    return [drawn(each * (1 + i % 3), seed=i, shift=1.5 * (i % 2) - 0.75) for i in range(sites)]


def pooled(parts: list[Part]) -> Part:
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def columns_of(parts: list[Part]) -> Columns:
    return describe(pooled(parts)[0], ())

