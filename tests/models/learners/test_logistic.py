from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge

from fivefold.core.errors import Invalid, Unsupported
from fivefold.core.learning import learner
from fivefold.models.fitted import Fitted
from fivefold.models.formats.linear import Linear
from fivefold.models.learners import fit
from fivefold.models.learners.logistic import sums
from fivefold.models.tasks import Task

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 3)) * [1, 10, 0.1] + [0, 5, -3]
Y = (X[:, 0] + RANDOM.normal(size=400) > 0).astype(float)


def fitted(x: np.ndarray, y: np.ndarray, task: str = "binary", **params: float) -> Fitted:
    names = [f"f{i}" for i in range(x.shape[1])]
    return fit(learner("logistic", **params), x, y, task=Task(task), names=names)


@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_probabilities_are_those_of_scikit_learn_on_standardised_columns(l2: float) -> None:
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=1000).fit(z, Y).predict_proba(z)[:, 1]
    assert np.allclose(fitted(X, Y, l2=l2).predict(X), theirs, atol=1e-6)


def test_regression_is_ridge_on_standardised_columns() -> None:
    z = (X - X.mean(axis=0)) / X.std(axis=0)
    y = X @ [1.0, -2.0, 30.0] + RANDOM.normal(size=400)
    theirs = Ridge(alpha=2.0).fit(z, y).predict(z)
    assert np.allclose(fitted(X, y, "regression", l2=2.0).predict(X), theirs, atol=1e-6)


def test_separable_classes_converge_under_a_penalty_and_say_so_without() -> None:
    y = (X[:, 0] > 0).astype(float)
    p = fitted(X, y).predict(X)
    assert ((p > 0.5) == (y > 0)).mean() > 0.95
    assert fitted(X, y).params["iterations"] < 25
    with pytest.raises(Invalid, match=r"did not converge in 25 steps: .*Give l2= above 0 when a feature separates"):
        fitted(X, y, l2=0.0)


def test_too_few_steps_say_so() -> None:
    with pytest.raises(Invalid, match="did not converge in 1 steps"):
        fitted(X, Y, max_iter=1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 30.0]), st.integers(5, 60), st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_it_converges_to_where_the_gradient_is_zero(seed: int, l2: float, rows: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_t(2, size=(rows, 4)) * scale
    x[random.random(x.shape) < 0.2] = np.nan
    y = (random.random(rows) < 0.5).astype(float)
    y[:2] = [0.0, 1.0]
    made = fitted(x, y, l2=l2, max_iter=100)
    assert isinstance(made.model, Linear)
    weights = np.array(made.model.weights)
    gradient, _ = sums(made.model.columns.design(x), y, weights, binary=True)
    penalty = np.r_[0.0, np.full(len(weights) - 1, l2)]
    assert np.abs(gradient - penalty * weights).max() < 1e-5


def test_constant_columns_without_a_penalty_are_no_trouble() -> None:
    x = np.column_stack([X[:, 0], np.ones(400), np.ones(400)])
    assert np.isfinite(fitted(x, Y, l2=0.0).predict(x)).all()


def test_sums_over_parts_of_the_rows_are_the_sum_over_all() -> None:
    design = np.column_stack([np.ones(9000), RANDOM.normal(size=(9000, 2))])
    y = (RANDOM.random(9000) < 0.5).astype(float)
    weights = np.array([0.1, -0.3, 0.7])
    whole = sums(design, y, weights, binary=True)
    parts = [
        sums(design[s], y[s], weights, binary=True) for s in (slice(0, 4096), slice(4096, 8192), slice(8192, None))
    ]
    for i in range(2):
        assert np.array_equal(whole[i], sum(p[i] for p in parts))


def test_it_does_no_more_than_two_classes() -> None:
    for task in ("multiclass", "ranking"):
        with pytest.raises(Unsupported, match=f"does not do {task}"):
            fitted(X, Y, task)
