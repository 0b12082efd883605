"""What a site sends in a round: one flat vector of float64, made of named arrays, that is only ever added up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import msgspec
import numpy as np

from fivefold.core.errors import Invalid, NotFound

Arrays = Mapping[str, np.ndarray]
Values = Mapping[str, np.ndarray | float]

WEIGHT, LOSS, CLIPPED = "weight", "loss", "clipped"
SCALARS = (WEIGHT, LOSS, CLIPPED)
"""In every contribution: its weight, its weighted mean loss, and what share of it was cut to a length."""
GRAIN = 2.0**-24
"""Weights are multiples of it, so that their sum is exact however it is made."""


class Layout(msgspec.Struct, frozen=True, dict=True):
    """Named arrays in order, and how they lie one after the other in a flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def places(self) -> Mapping[str, slice]:
        """Where each array lies in the flat vector."""
        found, at = {}, 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            found[name] = slice(at, at := at + math.prod(shape))
        return found

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(math.prod(shape) for shape in self.shapes)

    def flatten(self, arrays: Values) -> np.ndarray:
        """The arrays as one float64 vector `(size,)`.

        Raises NotFound for an array that is missing or unknown, Invalid for one of another shape.
        """
        for name in [*self.names, *arrays]:
            if name not in arrays or name not in self.names:
                raise NotFound.named("array", name, self.names if name not in self.names else arrays)
        out = np.empty(self.size)
        for name, shape in zip(self.names, self.shapes, strict=True):
            if np.shape(arrays[name]) != shape:
                raise Invalid(f"the array {name!r} has the shape {np.shape(arrays[name])} (accepted: {shape}).")
            out[self.places[name]] = np.ravel(arrays[name])
        return out

    def unflatten(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Views of a flat vector by name, each in its shape. Raises Invalid for a vector of another length."""
        if vector.shape != (self.size,):
            raise Invalid(f"a vector of the shape {vector.shape} is given, where ({self.size},) is laid out.")
        shapes = dict(zip(self.names, self.shapes, strict=True))
        return {name: vector[place].reshape(shapes[name]) for name, place in self.places.items()}


def layout_of(arrays: Arrays) -> Layout:
    """The layout of arrays as they are."""
    return Layout(tuple(arrays), tuple(np.shape(a) for a in arrays.values()))


def sent_layout(**lengths: int) -> Layout:
    """The layout of a contribution: vectors of these lengths, then the scalars that are in every contribution."""
    return Layout((*lengths, *SCALARS), (*((n,) for n in lengths.values()), *((),) * len(SCALARS)))


class Terms(msgspec.Struct, frozen=True):
    """What a round asks of every contribution.

    A site's weight is its rows over `total` (all sites' rows, where that is known), or one for all with `equal`. A
    weighted change is cut to the length `reach` (L2). With `row_clip` a contribution is the sum of the gradients of
    single rows, each cut to that length, and a row's loss counts for at most `loss_cap`.
    """

    total: int = 1
    equal: bool = False
    reach: float = math.inf
    row_clip: float | None = None
    loss_cap: float = math.inf

    def weight(self, rows: int) -> float:
        """The weight of a site with so many rows, a multiple of `GRAIN`."""
        return 1.0 if self.equal else max(round(rows / self.total / GRAIN), 1) * GRAIN


def cut(vector: np.ndarray, length: float) -> tuple[np.ndarray, bool]:
    """A vector no longer than `length` (L2), and whether it had to be cut."""
    long = float(np.linalg.norm(vector))
    return (vector * (length / long), True) if long > length else (vector, False)


def cut_rows(rows: np.ndarray, length: float) -> tuple[np.ndarray, int]:
    """The sum `(k,)` of rows `(n, k)`, each no longer than `length` (L2), and how many had to be cut."""
    long = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    share = length / np.maximum(long, length)
    return share @ rows, int((long > length).sum())
