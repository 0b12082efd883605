"""Local training, and the parts of a contribution that every strategy has."""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.strategies import Descent
from fivefold.federated.contribution import CLIPPED, LOSS, WEIGHT, Arrays, Layout, Terms, cut, cut_rows
from fivefold.federated.learners import Rows, SelfTrained


def descend(
    rows: Rows | SelfTrained,
    start: np.ndarray,
    how: Descent,
    random: np.random.Generator,
    *,
    correction: np.ndarray | None = None,
    pull: float = 0.0,
    toward: np.ndarray | None = None,
) -> tuple[np.ndarray, int, float]:
    """Parameters `(k,)` after local steps, how many steps these were, and the mean loss met in the first epoch.

    Each step goes `lr` down the gradient of a batch, plus `correction` `(k,)`, plus `pull` times the way from `toward`.
    Raises Unsupported for a correction or pull where the learner takes its steps itself.
    """
    if hasattr(rows, "train"):
        if correction is not None or pull:
            raise Unsupported("scikit-learn takes its own local steps, which cannot be corrected or pulled.")
        after, loss = rows.train(start, how.epochs, int(random.integers(2**31)))
        return after, how.epochs * rows.count, loss
    size = min(how.batch_size or rows.count, max(rows.count, 1))
    at, steps, losses = start, 0, 0.0
    for epoch in range(how.epochs):
        order = random.permutation(rows.count) if size < rows.count else None
        for first in range(0, rows.count, size):
            batch = None if order is None else order[first : first + size]
            loss, gradient = rows.gradient(at, batch, epoch == 0)
            if correction is not None:
                gradient = gradient + correction
            if pull:
                gradient = gradient + pull * (at - (start if toward is None else toward))
            gradient *= -how.lr
            at = gradient + at
            steps += 1
            losses += loss * (rows.count if batch is None else len(batch))
    return at, steps, losses / max(rows.count, 1)


def sum_of_rows(rows: Rows, at: np.ndarray, lr: float, terms: Terms) -> dict[str, np.ndarray | float]:
    """One step of a site as a sum over its rows: each gradient cut to `row_clip`, over all sites' rows `total`."""
    assert terms.row_clip is not None
    change, clipped, loss = np.zeros(len(at)), 0, 0.0
    # blocks of rows, so that the gradients of all of them are never in memory at once
    block = max(1, 2**22 // max(len(at), 1))
    for first in range(0, rows.count, block):
        losses, gradients = rows.row_gradients(at, np.arange(first, min(first + block, rows.count)))
        cut_sum, many = cut_rows(gradients, terms.row_clip)
        change -= cut_sum
        clipped += many
        loss += float(np.minimum(losses, terms.loss_cap).sum())
    scalars = {WEIGHT: rows.count / terms.total, LOSS: loss / terms.total, CLIPPED: clipped / terms.total}
    return {"update": change * (lr / terms.total), **scalars}


def weighed(update: np.ndarray, rows: int, loss: float, terms: Terms) -> dict[str, np.ndarray | float]:
    """A site's change with its weight: cut to `reach` when weighted, told by `clipped`."""
    weight = terms.weight(rows)
    whole, taken = cut(update * weight, terms.reach)
    return {"update": whole, WEIGHT: weight, LOSS: min(loss, terms.loss_cap) * weight, CLIPPED: weight * taken}


def mean_change(layout: Layout, total: np.ndarray) -> tuple[np.ndarray, Arrays, float]:
    """The mean change `(k,)`, all sums by name, and the sum of weights. Raises Invalid for no positive weight."""
    sums = layout.unflatten(total)
    weight = float(sums[WEIGHT])
    if not weight > 0 or not np.isfinite(total).all():
        raise Invalid(
            f"the sum of contributions has the weight {weight:g}, and cannot be averaged.",
            hint="A site without rows sends nothing; with noise, more sites or a larger epsilon are needed.",
        )
    return sums["update"] / weight, sums, weight
