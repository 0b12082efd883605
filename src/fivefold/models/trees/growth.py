"""Growing trees by sums: what is asked of rows, what they tell, and the next question.

The stages: `exponents` and `moments` of the columns and the label, counts of `cells`, then histograms, one sum a level.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from fivefold.core.errors import Invalid
from fivefold.models.formats.linear import sigmoid
from fivefold.models.statistics import POWERS, exponents, moments, spread, units
from fivefold.models.trees.bins import CELLS, cell_edges, count_cells, cut, place
from fivefold.models.trees.forest import FINE, Settings, Tree, leaves, scores
from fivefold.models.trees.split import Open, best_splits, grown


class Growth(msgspec.Struct, frozen=True):
    """All that is known after some sums: enough for any site to answer the next question. It holds plain data only.

    `unit` has one power of two a column, and the label's last; `open` is the tree that is being grown.
    """

    settings: Settings
    features: int
    binary: bool
    stage: str = "exponents"
    unit: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    edges: tuple[tuple[float, ...], ...] = ()
    first: float = 0.0
    trees: tuple[Tree, ...] = ()
    open: Open | None = None

    @property
    def done(self) -> bool:
        return self.stage == "done"

    @property
    def size(self) -> int:
        """How many whole numbers the next sum has."""
        columns = self.features + 1
        if self.stage == "levels":
            assert self.open is not None
            return len(self.open.nodes) * self.features * (self.settings.bins + 1) * 3
        return {"exponents": columns * POWERS, "moments": columns * 4, "cells": self.features * CELLS, "done": 0}[
            self.stage
        ]


class TreeRows:
    """Rows `(n, features)` with NaN for null and labels `(n,)`; bins and scores are kept from question to question."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, np.asarray(y, dtype=np.float64)
        self.count = len(y)
        self._edges: object = None
        self._placed = np.empty((0, 0), dtype=np.int32)
        self._columns = self._placed
        self._known: tuple[Tree, ...] = ()
        self._scores = np.zeros(len(y))

    def tell(self, growth: Growth) -> np.ndarray:
        """The answer to what is asked: int64 `(growth.size,)`, a sum over rows."""
        match growth.stage:
            case "exponents":
                return exponents(self._with_label()).ravel()
            case "moments":
                return moments(self._with_label(), np.array(growth.unit)).ravel()
            case "cells":
                edges = cell_edges(np.array(growth.mean[:-1]), np.array(growth.deviation[:-1]))
                return count_cells(self.x, edges).ravel()
            case "levels":
                return self._histograms(growth)
        raise Invalid("the trees are grown: nothing is asked any more.")

    def _with_label(self) -> np.ndarray:
        return np.concatenate([self.x, self.y[:, None]], axis=1)

    def _histograms(self, growth: Growth) -> np.ndarray:
        """Sums of gradients, Hessians and rows: by open node, feature and bin."""
        assert growth.open is not None
        bins, nodes = growth.settings.bins, len(growth.open.nodes)
        if self._edges != growth.edges:
            self._placed = place(self.x, tuple(np.array(e) for e in growth.edges), bins)
            self._columns = np.ascontiguousarray(self._placed.T)
            self._edges, self._known = growth.edges, ()
        score = self._score(growth)
        if growth.binary:
            mean = sigmoid(score)
            gradient, hessian = mean - self.y, mean * (1 - mean)
        else:
            # labels in their unit are within -1 and 1, so that gradients are small whole numbers too
            gradient, hessian = (score - self.y) / growth.unit[-1], np.ones(self.count)
        node = growth.open.node_of(self._placed, bins)
        told, columns = np.stack([np.rint(gradient * FINE), np.rint(hessian * FINE)]), self._columns
        if not (node >= 0).all():
            there = np.flatnonzero(node >= 0)
            node, told, columns = node[there], told[:, there], columns[:, there]
        out = np.zeros((3, nodes, growth.features, bins + 1), dtype=np.int64)
        first, shape = node * (bins + 1), (nodes, bins + 1)
        for i, column in enumerate(columns):
            key = first + column
            # float64 adds whole numbers below 2**53 exactly, in any order
            out[0, :, i] = np.bincount(key, told[0], nodes * (bins + 1)).reshape(shape)
            out[1, :, i] = np.bincount(key, told[1], nodes * (bins + 1)).reshape(shape)
            out[2, :, i] = np.bincount(key, minlength=nodes * (bins + 1)).reshape(shape)
        return out.ravel()

    def _score(self, growth: Growth) -> np.ndarray:
        if not growth.trees:
            return np.full(self.count, growth.first)
        if growth.trees[: len(self._known)] != self._known or not self._known:
            self._known, self._scores = (), np.zeros(self.count)
        for tree in growth.trees[len(self._known) :]:
            self._scores = self._scores + np.array(tree.leaf)[leaves(tree, self._placed, growth.settings.bins)]
        self._known = growth.trees
        return self._scores


def start(settings: Settings, features: int, binary: bool) -> Growth:
    """Nothing is known yet."""
    return Growth(settings, features, binary)


def step(growth: Growth, total: np.ndarray) -> Growth:
    """What is known after the sum `(growth.size,)` of all answers, in int64.

    Raises Invalid for a sum of another length, and for labels of a single kind.
    """
    if total.shape != (growth.size,) or total.dtype != np.int64:
        raise Invalid(f"the sum is {total.dtype} of the shape {total.shape} (accepted: int64 of ({growth.size},)).")
    columns = growth.features + 1
    match growth.stage:
        case "exponents":
            unit = units(total.reshape(columns, -1))
            return msgspec.structs.replace(growth, stage="moments", unit=tuple(unit.tolist()))
        case "moments":
            told = total.reshape(columns, 4)
            mean, deviation = spread(told, np.array(growth.unit))
            first = _first(float(mean[-1]), growth.binary)
            return msgspec.structs.replace(
                growth, stage="cells", mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()), first=first
            )
        case "cells":
            edges = cell_edges(np.array(growth.mean[:-1]), np.array(growth.deviation[:-1]))
            made = cut(total.reshape(growth.features, CELLS), edges, growth.settings.bins)
            return msgspec.structs.replace(
                growth, stage="levels", edges=tuple(tuple(e.tolist()) for e in made), open=Open.root()
            )
    assert growth.open is not None
    settings = growth.settings
    sums = total.reshape(3, len(growth.open.nodes), growth.features, settings.bins + 1)
    deeper = best_splits(growth.open, sums, settings)
    if deeper.nodes:
        return msgspec.structs.replace(growth, open=deeper)
    scale = 1.0 if growth.binary else growth.unit[-1]
    # the first tree carries what every row is predicted before it, so that the sum of trees is the prediction
    tree = grown(deeper, settings, scale, growth.first if not growth.trees else 0.0)
    trees = (*growth.trees, tree)
    ended = len(trees) == settings.trees or not tree.feature
    if ended and not tree.feature and growth.trees:
        trees = growth.trees
    return msgspec.structs.replace(
        growth, trees=trees, open=None if ended else Open.root(), stage="done" if ended else "levels"
    )


def grow(settings: Settings, features: int, binary: bool, told: Callable[[Growth], np.ndarray]) -> Growth:
    """Trees grown to the end, `told(growth)` being the sum of all answers to what is asked."""
    growth = start(settings, features, binary)
    while not growth.done:
        growth = step(growth, told(growth))
    return growth


def predict(growth: Growth, x: np.ndarray) -> np.ndarray:
    """Probabilities or numbers `(n,)` of rows `(n, features)`."""
    placed = place(x, tuple(np.array(e) for e in growth.edges), growth.settings.bins)
    score = scores(growth.trees, placed, growth.settings.bins)
    return sigmoid(score) if growth.binary else score


def _first(mean: float, binary: bool) -> float:
    if not binary:
        return mean
    if not 0 < mean < 1:
        raise Invalid("all training rows have the same label.", hint="Look at the label and the split.")
    return float(np.log(mean / (1 - mean)))
