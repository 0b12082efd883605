"""Linear models as JSON: weights, and how columns enter."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.models.fitted import Predict

FARTHEST = 1e9
"""Standard deviations beyond which a value counts as this far: sums of products then stay finite."""


class _Places(msgspec.Struct, frozen=True):
    """For numbers, flags of null and levels: which weight each has, and which column it comes from."""

    numbers: np.ndarray
    number_from: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    flags: np.ndarray
    flag_from: np.ndarray
    levels: np.ndarray
    level_from: np.ndarray
    level: np.ndarray


class Columns(msgspec.Struct, frozen=True, dict=True):
    """Each column's mean and scale, whether its nulls have a flag, and its number of categories (-1 for a number)."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    flagged: tuple[bool, ...]
    levels: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of weights."""
        return 1 + sum(n if n >= 0 else 1 + flagged for n, flagged in zip(self.levels, self.flagged, strict=True))

    def design(self, x: np.ndarray) -> np.ndarray:
        """The `(n, k)` matrix that weights multiply: a one, then each column's part, row by row alone."""
        at = self._places
        out = np.empty((len(x), self.width))
        out[:, 0] = 1.0
        given = x[:, at.number_from]
        with np.errstate(over="ignore"):
            z = (np.where(np.isnan(given), at.means, given) - at.means) / at.scales
        out[:, at.numbers] = z.clip(-FARTHEST, FARTHEST)
        if len(at.flags):
            out[:, at.flags] = np.isnan(x[:, at.flag_from])
        if len(at.levels):
            out[:, at.levels] = x[:, at.level_from] == at.level
        return out

    @cached_property
    def _places(self) -> _Places:
        numbers, flags, levels = [], [], []
        place = 1
        for i, count in enumerate(self.levels):
            if count >= 0:
                levels += [(place + level, i, level) for level in range(count)]
                place += count
                continue
            numbers.append((place, i))
            place += 1
            if self.flagged[i]:
                flags.append((place, i))
                place += 1
        n, f = (np.array(v, dtype=np.int64).reshape(-1, 2).T for v in (numbers, flags))
        at, of, level = np.array(levels, dtype=np.int64).reshape(-1, 3).T
        means, scales = np.array(self.means)[n[1]], np.array(self.scales)[n[1]]
        return _Places(n[0], n[1], means, scales, f[0], f[1], at, of, level.astype(np.float64))


class Linear(msgspec.Struct, frozen=True):
    """A linear model: `binary` gives the probability of true, `regression` the number."""

    columns: Columns
    weights: tuple[float, ...]
    task: str


def sigmoid(score: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-score)), without overflow."""
    small = np.exp(-np.abs(score))
    return np.asarray(np.where(score >= 0, 1 / (1 + small), small / (1 + small)))


def linear_predictor(model: Linear) -> Predict:
    """Predictions summed column by column in one order, so that a row's bits do not depend on the rows beside it."""
    weights = np.array(model.weights)

    def predict(x: np.ndarray) -> np.ndarray:
        # accumulate adds from left to right; a sum would pair up terms, and how depends on the shape
        score = np.add.accumulate(model.columns.design(x) * weights, axis=1)[:, -1].copy()
        return sigmoid(score) if model.task == "binary" else score

    return predict


def save(model: Linear, folder: Path, task: str) -> None:
    """Write `linear.json`."""
    (folder / "linear.json").write_bytes(msgspec.json.format(msgspec.json.encode(model), indent=1))


def load(folder: Path, task: str) -> Predict:
    """Read `linear.json`. Raises Invalid when its parts do not belong together."""
    model = msgspec.json.decode((folder / "linear.json").read_bytes(), type=Linear)
    c = model.columns
    if len({len(c.means), len(c.scales), len(c.flagged), len(c.levels)}) != 1 or len(model.weights) != c.width:
        raise Invalid(f"{folder / 'linear.json'} has {len(model.weights)} weights for {c.width} columns.")
    return linear_predictor(model)
