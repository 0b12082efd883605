"""Linear models as JSON: weights, and how columns enter."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.models.fitted import Predict

FARTHEST = 1e9
"""Standard deviations beyond which a value counts as this far: sums of products then stay finite."""


class Columns(msgspec.Struct, frozen=True):
    """Each column's mean and scale, whether its nulls have a flag, and its number of categories (-1 for a number)."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    flagged: tuple[bool, ...]
    levels: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of weights."""
        return 1 + sum(
            n if n >= 0 else 1 + flagged for n, flagged in zip(self.levels, self.flagged, strict=True)
        )

    def design(self, x: np.ndarray) -> np.ndarray:
        """The `(n, k)` matrix that weights multiply: a one, then each column's part, row by row alone."""
        parts = [np.ones(len(x))]
        for i in range(x.shape[1]):
            values = x[:, i]
            if self.levels[i] >= 0:
                parts += [(values == level).astype(np.float64) for level in range(self.levels[i])]
                continue
            null = np.isnan(values)
            with np.errstate(over="ignore"):
                z = (np.where(null, self.means[i], values) - self.means[i]) / self.scales[i]
            parts.append(np.clip(z, -FARTHEST, FARTHEST))
            if self.flagged[i]:
                parts.append(null.astype(np.float64))
        return np.column_stack(parts)


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
        design = model.columns.design(x)
        score = np.zeros(len(x))
        for k in range(design.shape[1]):
            score += design[:, k] * weights[k]
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
