"""Logistic and ridge regression of our own: small, deterministic, and a sum over rows, so that it can be federated."""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats.linear import Columns, Linear, linear_predictor, sigmoid

BLOCK = 4096
"""Rows whose products are summed at once; blocks are added in order, so the sums never depend on threads."""


def fit(data: Data, learner: Learner) -> Fitted:
    """Penalised maximum likelihood by Newton's method (Hastie et al., "Elements of Statistical Learning", 4.4.1).

    Parameters: `l2` (penalty on standardised weights, default 1.0), `max_iter` (25), `tolerance` (1e-8).
    Raises Unsupported for more than two classes, Invalid for an unknown parameter.
    """
    unknown = set(learner.params) - {"l2", "max_iter", "tolerance"}
    if unknown:
        raise Invalid(f"the learner logistic has no parameter {sorted(unknown)[0]!r} (have: l2, max_iter, tolerance).")
    if data.task not in ("binary", "regression"):
        raise Unsupported(f"the learner logistic does not do {data.task}.", hint="Use lightgbm, xgboost or sklearn.")
    l2 = float(learner.params.get("l2", 1.0))
    rounds, tolerance = int(learner.params.get("max_iter", 25)), float(learner.params.get("tolerance", 1e-8))
    columns = describe(data.x, data.categorical)
    design = columns.design(data.x)
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], l2)
    penalty[0] = 0.0
    binary = data.task == "binary"
    iterations = 0
    for _ in range(rounds if binary else 1):
        iterations += 1
        gradient, hessian = sums(design, data.y, weights, binary)
        step = np.linalg.solve(hessian + np.diag(penalty + 1e-9), gradient - penalty * weights)
        weights = weights + step
        if np.abs(step).max() < tolerance:
            break
    model = Linear(columns, tuple(weights.tolist()), "binary" if binary else "regression")
    return Fitted("linear", model, linear_predictor(model), {"l2": l2, "max_iter": rounds, "iterations": iterations})


def describe(x: np.ndarray, categorical: tuple[int, ...]) -> Columns:
    """How columns enter: numbers standardised, nulls as the mean with a flag, categories one by one."""
    means, scales, flagged, levels = [], [], [], []
    for i in range(x.shape[1]):
        values = x[:, i]
        there = values[~np.isnan(values)]
        if i in categorical:
            means.append(0.0)
            scales.append(1.0)
            flagged.append(False)
            levels.append(int(there.max()) + 1 if len(there) else 0)
            continue
        mean = float(there.mean()) if len(there) else 0.0
        spread = float(there.std()) if len(there) else 0.0
        means.append(mean)
        scales.append(spread if spread > 0 else 1.0)
        flagged.append(len(there) < len(values))
        levels.append(-1)
    return Columns(tuple(means), tuple(scales), tuple(flagged), tuple(levels))


def sums(design: np.ndarray, y: np.ndarray, weights: np.ndarray, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gradient `(k,)` and Hessian `(k, k)` of the log-likelihood: sums over rows, and nothing else leaves the rows."""
    k = design.shape[1]
    gradient, hessian = np.zeros(k), np.zeros((k, k))
    for start in range(0, len(y), BLOCK):
        block, label = design[start : start + BLOCK], y[start : start + BLOCK]
        score = block @ weights
        mean = sigmoid(score) if binary else score
        spread = mean * (1 - mean) if binary else np.ones_like(mean)
        gradient += block.T @ (label - mean)
        hessian += (block * spread[:, None]).T @ block
    return gradient, hessian
