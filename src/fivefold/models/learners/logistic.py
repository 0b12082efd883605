"""Logistic and ridge regression of our own: small, deterministic, and a sum over rows, so that it can be federated."""

from __future__ import annotations

import numpy as np

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.learning import Learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.formats.linear import Columns, Linear, linear_predictor, sigmoid
from fivefold.models.learners.parameters import number, require_known, whole

BLOCK = 4096
"""Rows whose products are summed at once; blocks are added in order, so the sums never depend on threads."""
HALVINGS = 30
PARAMETERS = ("l2", "max_iter", "tolerance")


def fit(data: Data, learner: Learner) -> Fitted:
    """Penalised maximum likelihood by Newton's method (Hastie et al., "Elements of Statistical Learning", 4.4.1).

    A step that does not lessen the loss is halved (Nocedal and Wright, "Numerical Optimization", 3.1). Parameters: `l2`
    (penalty on standardised weights, default 1.0), `max_iter` (25), `tolerance` (1e-8, on the largest change of a
    weight). Raises Unsupported for more than two classes, Invalid for a wrong parameter and when it does not converge.
    """
    require_known("logistic", learner.params, PARAMETERS)
    if data.task not in ("binary", "regression"):
        raise Unsupported(f"the learner logistic does not do {data.task}.", hint="Use lightgbm, xgboost or sklearn.")
    l2 = number("logistic", learner.params, "l2", 1.0, 0.0)
    rounds = whole("logistic", learner.params, "max_iter", 25)
    tolerance = number("logistic", learner.params, "tolerance", 1e-8, 0.0)
    columns = describe(data.x, data.categorical)
    design = columns.design(data.x)
    binary = data.task == "binary"
    weights, iterations = newton(design, data.y, l2, rounds if binary else 1, tolerance, binary)
    model = Linear(columns, tuple(weights.tolist()), "binary" if binary else "regression")
    return Fitted("linear", model, linear_predictor(model), {"l2": l2, "max_iter": rounds, "iterations": iterations})


def newton(
    design: np.ndarray, y: np.ndarray, l2: float, rounds: int, tolerance: float, binary: bool
) -> tuple[np.ndarray, int]:
    """Weights `(k,)` at the least loss on `design` `(n, k)`, and the steps it took. Raises Invalid when it gets there
    neither in `rounds` steps nor as near as float64 can tell."""
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], l2)
    penalty[0] = 0.0
    at = deviance(design, y, weights, penalty, binary)
    for iteration in range(1, rounds + 1):
        gradient, hessian = sums(design, y, weights, binary)
        step = newton_step(gradient, hessian, weights, penalty)
        for _ in range(HALVINGS):
            then = deviance(design, y, weights + step, penalty, binary)
            if not worse(then, at):
                break
            step = step / 2
        weights, at = weights + step, then
        if not binary or settled(step, weights, tolerance):
            return weights, iteration
    raise Invalid(
        f"the learner logistic did not converge in {rounds} steps: the last changed a weight by "
        f"{np.abs(step).max():.3g}, more than {tolerance:g}.",
        hint="Give l2= above 0 when a feature separates the classes, or a larger max_iter=.",
    )


def newton_step(gradient: np.ndarray, hessian: np.ndarray, weights: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """The step `(k,)` to where the penalised loss would be least if it were quadratic. Raises Invalid where none is."""
    try:
        return np.linalg.solve(hessian + np.diag(penalty + 1e-9), gradient - penalty * weights)
    except np.linalg.LinAlgError:
        raise Invalid("the learner logistic found no unique solution.", hint="Give l2= above 0.") from None


def worse(then: float, before: float) -> bool:
    """Whether a loss is above another by more than rounding, or is no number."""
    return not then <= before * (1 + 1e-12)


def settled(step: np.ndarray, weights: np.ndarray, tolerance: float) -> bool:
    """Whether a step changed no weight by more than the tolerance."""
    return bool(np.abs(step).max() <= tolerance * max(1.0, float(np.abs(weights).max())))


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
        # a power of two just below the largest value: dividing by it is exact, and squares of huge values stay finite
        unit = float(np.ldexp(1.0, int(np.frexp(np.abs(there).max())[1]) - 1)) if there.any() else 1.0
        mean = float((there / unit).mean()) * unit if len(there) else 0.0
        spread = float((there / unit).std()) * unit if len(there) else 0.0
        means.append(mean)
        scales.append(spread if spread > 0 else 1.0)
        flagged.append(len(there) < len(values))
        levels.append(-1)
    return Columns(tuple(means), tuple(scales), tuple(flagged), tuple(levels))


def sums(design: np.ndarray, y: np.ndarray, weights: np.ndarray, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    """Gradient `(k,)` and Hessian `(k, k)` of the log-likelihood: sums over rows, and nothing else leaves the rows.

    The lower half of the Hessian is a copy of the upper one: a product of matrices is not symmetric to the last bit.
    """
    k = design.shape[1]
    gradient, hessian = np.zeros(k), np.zeros((k, k))
    for start in range(0, len(y), BLOCK):
        block, label = design[start : start + BLOCK], y[start : start + BLOCK]
        score = block @ weights
        mean = sigmoid(score) if binary else score
        spread = mean * (1 - mean) if binary else np.ones_like(mean)
        gradient += block.T @ (label - mean)
        hessian += (block * spread[:, None]).T @ block
    return gradient, np.triu(hessian) + np.triu(hessian, 1).T


def deviance(design: np.ndarray, y: np.ndarray, weights: np.ndarray, penalty: np.ndarray, binary: bool) -> float:
    """Half the penalised deviance, which Newton's steps lessen: a sum over rows, and the penalty."""
    total = float(penalty @ weights**2 / 2)
    for start in range(0, len(y), BLOCK):
        score, label = design[start : start + BLOCK] @ weights, y[start : start + BLOCK]
        total += float((np.logaddexp(0.0, score) - label * score if binary else (label - score) ** 2 / 2).sum())
    return total
