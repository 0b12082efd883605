"""Bins that all rows share: cut where counts of fine cells say that the rows are."""

from __future__ import annotations

import numpy as np

CELLS = 1024
FARTHEST = 4.0
"""Cells span so many standard deviations to both sides of the mean; the outermost take what lies beyond."""


ABOVE = 1e300
"""The last edge of every column: a split there tells null from all values (LightGBM writes no larger threshold)."""


def cell_edges(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Upper edges of all cells but the last: `(features, CELLS - 1)`."""
    steps = (np.arange(1, CELLS) / CELLS * 2 - 1) * FARTHEST
    return np.asarray(mean[:, None] + deviation[:, None] * steps)


def count_cells(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many values of each column `(n, features)` lie in each cell: `(features, CELLS)` int64, nulls left out."""
    return np.stack(
        [
            np.bincount(np.searchsorted(edges[i], x[~np.isnan(x[:, i]), i]), minlength=CELLS).astype(np.int64)
            for i in range(x.shape[1])
        ]
    )


def cut(counts: np.ndarray, edges: np.ndarray, bins: int) -> tuple[np.ndarray, ...]:
    """For each column the edges of at most `bins` bins with about as many values each, the last being `ABOVE`."""
    out = []
    for row, places in zip(counts, edges, strict=True):
        total, held = int(row.sum()), 0
        made: list[float] = []
        wanted = total / (bins - 1)
        for cell, count in enumerate(row[:-1].tolist()):
            held += count
            # an edge stands behind a cell with values in it, where values are left
            if count and wanted <= held < total and len(made) < bins - 2:
                made.append(float(places[cell]))
                wanted = held + (total - held) / (bins - 1 - len(made))
        out.append(np.array([*made, ABOVE]))
    return tuple(out)


def place(x: np.ndarray, edges: tuple[np.ndarray, ...], bins: int) -> np.ndarray:
    """The bin of each value `(n, features)` int32: how many edges are below it; `bins` for null."""
    out = np.empty(x.shape, dtype=np.int32)
    for i, places in enumerate(edges):
        out[:, i] = np.where(np.isnan(x[:, i]), bins, np.searchsorted(places, x[:, i]))
    return out
