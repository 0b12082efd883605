"""The best split of each open node by its sums (Chen and Guestrin 2016, section 2.2), and a tree of what was split."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from fivefold.models.trees.forest import FINE, Settings, Tree, leaves


class Node(msgspec.Struct, frozen=True):
    """A node: its split, or none; sums of gradients, Hessians (both in multiples of 1 / FINE) and rows in it."""

    gradient: int = 0
    hessian: int = 0
    rows: int = 0
    feature: int = -1
    bin: int = -1
    null_left: bool = False
    gain: float = 0.0
    left: int = -1
    right: int = -1


class Open(msgspec.Struct, frozen=True):
    """A tree while it grows: all its nodes, the root first, and which of them (`nodes`) ask for their sums."""

    all: tuple[Node, ...]
    nodes: tuple[int, ...]
    depth: int = 0

    @classmethod
    def root(cls) -> Open:
        return cls((Node(),), (0,))

    def node_of(self, placed: np.ndarray, bins: int) -> np.ndarray:
        """Which of the open nodes each row is in, counted from 0; -1 for none."""
        tree, ends = as_tree(self.all, lambda node: 0.0)
        found = np.full(len(ends), -1)
        for place, node in enumerate(self.nodes):
            found[ends.index(node)] = place
        return np.asarray(found[leaves(tree, placed, bins)])


def best_splits(tree: Open, sums: np.ndarray, settings: Settings) -> Open:
    """The tree one level deeper, by the sums `(3, nodes, features, bins + 1)` int64 of its open nodes.

    Of equal splits the first feature, the lowest bin and nulls to the right are taken. Where no node is split, or the
    tree is as deep as it may be, none is open any more.
    """
    nodes, opened = list(tree.all), []
    for place, at in enumerate(tree.nodes):
        histogram = sums[:, place]
        gradient, hessian, rows = (int(histogram[kind, 0].sum()) for kind in range(3))
        node = Node(gradient, hessian, rows)
        found = _best(histogram, gradient, hessian, settings)
        if found is None:
            nodes[at] = node
            continue
        gain, feature, edge, null_left = found
        taken = histogram[:, feature, : edge + 1].sum(axis=1) + (histogram[:, feature, -1] if null_left else 0)
        g, h, n = (int(v) for v in taken)
        left = len(nodes)
        nodes[at] = Node(gradient, hessian, rows, feature, edge, null_left, gain, left, left + 1)
        nodes += [Node(g, h, n), Node(gradient - g, hessian - h, rows - n)]
        opened += [left, left + 1]
    depth = tree.depth + 1
    return Open(tuple(nodes), () if depth == settings.depth else tuple(opened), depth)


def grown(tree: Open, settings: Settings, scale: float, added: float) -> Tree:
    """The finished tree; its leaves are in units of `scale`, plus `added`."""

    def value(node: Node) -> float:
        return added + scale * settings.learning_rate * _weight(node, settings)

    return as_tree(tree.all, value)[0]


def _weight(node: Node, settings: Settings) -> float:
    return -node.gradient / max(node.hessian + settings.l2 * FINE, 1.0)


def as_tree(nodes: tuple[Node, ...], value: Callable[[Node], float]) -> tuple[Tree, list[int]]:
    """Nodes as a tree whose leaves have a value, and which node each leaf is."""
    splits = [i for i, node in enumerate(nodes) if node.left >= 0]
    ends = [i for i, node in enumerate(nodes) if node.left < 0]
    place = {i: at for at, i in enumerate(splits)} | {i: -at - 1 for at, i in enumerate(ends)}
    inner, outer = [nodes[i] for i in splits], [nodes[i] for i in ends]
    tree = Tree(
        feature=tuple(n.feature for n in inner),
        bin=tuple(n.bin for n in inner),
        null_left=tuple(n.null_left for n in inner),
        left=tuple(place[n.left] for n in inner),
        right=tuple(place[n.right] for n in inner),
        gain=tuple(n.gain for n in inner),
        rows=tuple(n.rows for n in inner),
        leaf=tuple(value(n) for n in outer),
        leaf_rows=tuple(n.rows for n in outer),
    )
    return tree, ends


def _best(
    histogram: np.ndarray, gradient: int, hessian: int, settings: Settings
) -> tuple[float, int, int, bool] | None:
    """Gain, feature, bin and where nulls go of the best split of a node `(3, features, bins + 1)`, or None."""
    # without the last bin: nothing is to the right of it
    sums = np.cumsum(histogram[:, :, :-1], axis=2)[:, :, :-1].astype(np.float64)
    nulls = histogram[:, :, -1:].astype(np.float64)
    best: tuple[float, int, int, bool] | None = None
    l2, unit, rows = settings.l2 * FINE, float(FINE), int(histogram[2, 0].sum())
    whole = gradient**2 / max(hessian + l2, 1.0)
    for null_left in (False, True):
        left = sums + nulls if null_left else sums
        right = np.array([gradient, hessian, rows], dtype=np.float64)[:, None, None] - left
        enough = np.minimum(left[1], right[1]) >= settings.min_hessian * unit
        enough &= np.minimum(left[2], right[2]) >= settings.min_rows
        below = np.where(enough, left[1] + l2, 1.0), np.where(enough, right[1] + l2, 1.0)
        gain = np.where(enough, (left[0] ** 2 / below[0] + right[0] ** 2 / below[1] - whole) / unit, -np.inf)
        at = int(np.argmax(gain))
        if gain.flat[at] > (1e-9 if best is None else best[0] * (1 + 1e-12)):
            feature, edge = divmod(at, gain.shape[1])
            best = (float(gain.flat[at]), feature, edge, null_left)
    return best
