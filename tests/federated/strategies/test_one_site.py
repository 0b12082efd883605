"""One site, federated, gives what the same learner gives of its rows alone."""

from __future__ import annotations

import numpy as np
import pytest
from site_rows import columns_of, drawn
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier, SGDRegressor

import fivefold as ff
from fivefold.federated.learners import trainable
from fivefold.federated.simulation import simulate
from fivefold.federated.strategies import running
from fivefold.models.learners import fit
from fivefold.models.learners.logistic import newton
from fivefold.models.tasks import Task

X, Y = drawn(300)
COLUMNS = columns_of([(X, Y)])


def model(learner: ff.Learner = ff.learner("logistic"), task: str = "binary"):  # type: ignore[no-untyped-def]
    return trainable(learner, COLUMNS, task, total=len(Y))


def trained(made, strategy, rounds: int, y: np.ndarray = Y):  # type: ignore[no-untyped-def]
    return simulate(running(strategy, made, 1), made.start(0), [made.rows(X, y)], rounds).state


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_newton_gives_the_weights_of_the_learner_bit_for_bit(task: str) -> None:
    y = Y if task == "binary" else X[:, 0] * 2 + Y
    made = model(task=task)
    state = trained(made, ff.Newton(), 30, y)
    weights, _ = newton(COLUMNS.design(X), y, 1.0, 25 if task == "binary" else 1, 1e-8, task == "binary")
    assert state.done
    assert state.parameters.tobytes() == weights.tobytes()
    alone = fit(ff.learner("logistic"), X, y, task=Task(task), names=list("abcd"))
    assert made.fitted(state.parameters).predict(X).tobytes() == alone.predict(X).tobytes()


def test_newton_halves_steps_as_the_learner_does() -> None:
    random = np.random.default_rng(597)  # rows so uneven that one of its steps goes too far
    x = random.normal(size=(8, 2)) * np.exp(random.normal(size=(8, 1)) * 1.5)
    y = (random.random(8) < 0.5).astype(float)
    learner = ff.learner("logistic", l2=1e-3, max_iter=100)
    columns = columns_of([(x, y)])
    made = trainable(learner, columns, "binary", total=8)
    state = simulate(running(ff.Newton(), made, 1), made.start(0), [made.rows(x, y)], 300).state
    weights, steps = newton(columns.design(x), y, 1e-3, 100, 1e-8, True)
    assert state.done
    assert state.round == steps + 2  # one to begin with, and one for the step that was halved
    assert state.parameters.tobytes() == weights.tobytes()


def descent(epochs: int, size: int, lr: float, mu: float = 0.0) -> np.ndarray:
    """Plain stochastic gradient descent over the design matrix, in the order of the simulation's random numbers."""
    design, random = COLUMNS.design(X), np.random.default_rng([0, 1, 0])
    w = np.zeros(design.shape[1])
    for _ in range(epochs):
        order = random.permutation(len(Y))
        for at in range(0, len(Y), size):
            rows = order[at : at + size]
            p = 1 / (1 + np.exp(-design[rows] @ w))
            g = design[rows].T @ (p - Y[rows]) / len(rows)
            g[1:] += w[1:] / len(Y)
            w = w - lr * g
    return w


@pytest.mark.parametrize("strategy", [ff.FedAvg, ff.FedNova, ff.Scaffold, lambda **k: ff.FedProx(mu=0.0, **k)])
def test_one_epoch_a_round_is_gradient_descent(strategy) -> None:  # type: ignore[no-untyped-def]
    state = trained(model(), strategy(epochs=1, batch_size=32, lr=0.3), 4)
    assert np.abs(state.parameters - descent(4, 32, 0.3)).max() < 1e-10


def test_full_batches_of_one_epoch_reach_the_optimum_of_newton() -> None:
    state = trained(model(), ff.FedAvg(lr=1.0, momentum=0.5), 400)
    assert np.abs(state.parameters - trained(model(), ff.Newton(), 30).parameters).max() < 1e-6


def test_scikit_learn_takes_the_steps_of_partial_fit() -> None:
    estimator = SGDClassifier("log_loss", learning_rate="constant", eta0=0.05, alpha=1e-3)
    made = model(ff.learner("sklearn", estimator))
    state = trained(made, ff.FedAvg(), 1)
    seed = int(np.random.default_rng([0, 1, 0]).integers(2**31))
    alone = clone(estimator).set_params(random_state=seed)
    alone.partial_fit(COLUMNS.design(X)[:, 1:], Y.astype(int), classes=[0, 1])
    assert np.allclose(state.parameters, [*alone.intercept_, *alone.coef_[0]], rtol=0, atol=1e-12)
    p = made.fitted(state.parameters).predict(X)
    assert np.allclose(p, alone.predict_proba(COLUMNS.design(X)[:, 1:])[:, 1], atol=1e-12)


def test_scikit_learn_regression_gives_numbers() -> None:
    y = X @ np.array([1.0, 2.0, 0.0, -1.0]) + 3
    made = model(ff.learner("sklearn", SGDRegressor(learning_rate="constant", eta0=0.02)), "regression")
    state = trained(made, ff.FedAvg(epochs=3), 5, y)
    assert np.abs(made.fitted(state.parameters).predict(X) - y).mean() < 0.05


def test_torch_takes_the_steps_of_torch() -> None:
    import torch

    made = model(ff.learner("torch", lambda n: torch.nn.Sequential(torch.nn.Linear(n, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))))
    state = trained(made, ff.FedAvg(lr=0.5), 6)
    module = made._made(0)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.5)
    x, y = torch.from_numpy(X.astype(np.float32)), torch.from_numpy(Y.astype(np.float32))
    for _ in range(6):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(module(x).reshape(-1), y).backward()
        optimiser.step()
    alone = np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
    assert np.abs(state.parameters - alone).max() < 1e-5
    expected = torch.sigmoid(module(x)).detach().numpy().ravel()
    assert np.abs(made.fitted(state.parameters).predict(X) - expected).max() < 1e-5
