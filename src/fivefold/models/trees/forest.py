"""Trees, and what they predict."""

from __future__ import annotations

import msgspec
import numpy as np

from fivefold.core.errors import Invalid

DEEPEST = 5
FINE = 2**20
"""A gradient or Hessian is told in whole multiples of 1 / FINE."""


class Settings(msgspec.Struct, frozen=True):
    """How trees are grown: each split must gain, and leave `min_rows` rows and a Hessian of `min_hessian` per side."""

    trees: int = 50
    depth: int = 4
    learning_rate: float = 0.1
    bins: int = 32
    l2: float = 1.0
    min_hessian: float = 1.0
    min_rows: int = 20

    def __post_init__(self) -> None:
        for name, low, high in (("trees", 1, 10_000), ("depth", 1, DEEPEST), ("bins", 3, 255), ("min_rows", 1, 10**9)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise Invalid(f"the learner trees: {name}={value!r} (accepted: whole numbers from {low} to {high}).")
        for name, least in (("learning_rate", 1e-9), ("l2", 0.0), ("min_hessian", 1e-9)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
                raise Invalid(f"the learner trees: {name}={value!r} is not a number of at least {least:g}.")


class Tree(msgspec.Struct, frozen=True):
    """A tree: split `i` sends a row left whose bin of `feature[i]` is at most `bin[i]`, and nulls with `null_left[i]`.

    A child of 0 or more is a split, a child `c` below is the leaf `-c - 1`. Without splits there is the leaf 0.
    """

    feature: tuple[int, ...]
    bin: tuple[int, ...]
    null_left: tuple[bool, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    gain: tuple[float, ...]
    rows: tuple[int, ...]
    leaf: tuple[float, ...]
    leaf_rows: tuple[int, ...]


def leaves(tree: Tree, placed: np.ndarray, bins: int) -> np.ndarray:
    """The leaf of each row `(n,)` whose bins are `(n, features)`."""
    at = np.zeros(len(placed), dtype=np.int64)
    if not tree.feature:
        return at
    feature, edge = np.array(tree.feature), np.array(tree.bin)
    null_left, left, right = np.array(tree.null_left), np.array(tree.left), np.array(tree.right)
    inside = np.arange(len(placed))
    while len(inside):
        here = at[inside]
        value = placed[inside, feature[here]]
        goes_left = np.where(value == bins, null_left[here], value <= edge[here])
        at[inside] = np.where(goes_left, left[here], right[here])
        inside = inside[at[inside] >= 0]
    return -at - 1


def scores(trees: tuple[Tree, ...], placed: np.ndarray, bins: int) -> np.ndarray:
    """The sum of the trees' leaves `(n,)`, added in order."""
    out = np.zeros(len(placed))
    for tree in trees:
        out += np.array(tree.leaf)[leaves(tree, placed, bins)]
    return out
