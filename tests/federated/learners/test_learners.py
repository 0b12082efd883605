"""Learners as functions of a flat vector: gradients are those of the loss, and what cannot be trained so is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from site_rows import columns_of, drawn
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor

import fivefold as ff
from fivefold.core.errors import Invalid, Unsupported
from fivefold.federated.learners import trainable
from fivefold.federated.learners.dense import DenseRows
from fivefold.federated.learners.torch import TorchRows

X, Y = drawn(40)
X[3, 1] = np.nan
COLUMNS = columns_of([(X, Y)])
LABELS = {"binary": Y, "regression": X[:, 0] * 3 - 1, "multiclass": np.arange(40.0) % 3}


def net(*functions: type[torch.nn.Module], outputs: int = 1):  # type: ignore[no-untyped-def]
    def make(inputs: int) -> torch.nn.Module:
        layers, width = [], inputs
        for i, function in enumerate(functions):
            layers += [torch.nn.Linear(width, 5 + i), function()]
            width = 5 + i
        return torch.nn.Sequential(*layers, torch.nn.Linear(width, outputs))

    return ff.learner("torch", make, weight_decay=0.01)


def made(learner: ff.Learner, task: str = "binary"):  # type: ignore[no-untyped-def]
    return trainable(learner, COLUMNS, task, total=40, classes=3)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_gradient_of_the_linear_learner_is_that_of_its_loss(task: str) -> None:
    model = made(ff.learner("logistic", l2=4.0), task)
    rows = model.rows(X, LABELS[task])
    w = np.random.default_rng(0).normal(size=model.layout.size)
    for batch in (None, np.array([1, 3, 5])):
        loss, gradient = rows.gradient(w, batch)
        for i in range(len(w)):
            step = np.zeros_like(w)
            step[i] = 1e-6
            numeric = (rows.gradient(w + step, batch)[0] - rows.gradient(w - step, batch)[0]) / 2e-6
            assert gradient[i] == pytest.approx(numeric, abs=1e-6)
        assert np.array_equal(rows.gradient(w, batch, False)[1], gradient)
        losses, each = rows.row_gradients(w, batch)
        penalty = np.r_[0.0, w[1:]] * 4.0 / 40
        assert np.allclose(each.mean(axis=0) + penalty, gradient)
        assert loss == pytest.approx(losses.mean() + penalty @ w / 2)


@pytest.mark.parametrize("functions", [(), (torch.nn.ReLU,), (torch.nn.Tanh, torch.nn.Sigmoid)], ids=str)
@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_dense_networks_by_numpy_are_those_of_torch(functions, task: str) -> None:  # type: ignore[no-untyped-def]
    model = made(net(*functions, outputs=3 if task == "multiclass" else 1), task)
    fast, slow = model.rows(X, LABELS[task]), TorchRows(model, X, LABELS[task])
    assert isinstance(fast, DenseRows)
    w = model.start(1)
    for batch in (None, np.array([0, 3, 7, 9])):
        (loss, gradient), (expected, reference) = fast.gradient(w, batch), slow.gradient(w, batch)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert np.allclose(gradient, reference, atol=1e-5)
        (losses, each), (expected_losses, reference) = fast.row_gradients(w, batch), slow.row_gradients(w, batch)
        assert np.allclose(losses, expected_losses, atol=1e-5)
        assert np.allclose(each, reference, atol=1e-5)
        assert np.allclose(each.mean(axis=0) + 0.01 * w, gradient, atol=1e-9)


def test_another_module_is_trained_by_torch_itself() -> None:
    class Residual(torch.nn.Module):
        def __init__(self, inputs: int) -> None:
            super().__init__()
            self.one, self.norm, self.out = torch.nn.Linear(inputs, inputs), torch.nn.LayerNorm(inputs), torch.nn.Linear(inputs, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.norm(x + torch.relu(self.one(x))))

    model = made(ff.learner("torch", Residual))
    rows = model.rows(X, Y)
    assert isinstance(rows, TorchRows)
    w = model.start(0)
    _, gradient = rows.gradient(w, None)
    losses, each = rows.row_gradients(w, None)
    assert np.allclose(each.mean(axis=0), gradient, atol=1e-6)
    assert losses.shape == (40,)
    assert model.layout.names == ("one.weight", "one.bias", "norm.weight", "norm.bias", "out.weight", "out.bias")


def test_a_module_starts_alike_for_a_seed_and_gives_its_parameters_back() -> None:
    model = made(net(torch.nn.ReLU))
    assert np.array_equal(model.start(3), model.start(3))
    assert not np.array_equal(model.start(3), model.start(4))
    w = model.start(3)
    held = np.concatenate([p.detach().numpy().ravel() for p in model.fitted(w).model[0].parameters()])
    assert np.array_equal(held, w.astype(np.float32))


def with_batch_norm(inputs: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(inputs, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))


CONSTANT = {"learning_rate": "constant", "eta0": 0.1}


@pytest.mark.parametrize(("learner", "task", "error", "message"), [
    (ff.learner("lightgbm"), "binary", Invalid, "not trained by steps"),
    (ff.learner("trees"), "binary", Invalid, "not trained by steps"),
    (ff.learner("logistic"), "multiclass", Unsupported, "does not do multiclass"),
    (ff.learner("logistic", l3=1), "binary", Invalid, "no parameter 'l3'"),
    (ff.learner("torch", with_batch_norm), "binary", Unsupported, "keeps buffers"),
    (ff.learner("torch", lambda n: torch.nn.ReLU()), "binary", Invalid, "no parameters to train"),
    (ff.learner("torch", with_batch_norm, epochs=3), "binary", Invalid, "no parameter 'epochs'"),
    (ff.learner("torch", with_batch_norm), "ranking", Unsupported, "does not do ranking"),
    (ff.learner("sklearn", LogisticRegression()), "binary", Invalid, "trains SGDClassifier .* has a LogisticRegression"),
    (ff.learner("sklearn", SGDClassifier("hinge", **CONSTANT)), "binary", Invalid, "loss='hinge' \\(accepted: log_loss\\)"),
    (ff.learner("sklearn", SGDClassifier("log_loss")), "binary", Invalid, "learning_rate='optimal'"),
    (ff.learner("sklearn", SGDRegressor(**CONSTANT)), "binary", Invalid, "has a SGDRegressor"),
    (ff.learner("sklearn", SGDRegressor(**CONSTANT, average=True)), "regression", Invalid, "average=True"),
    (ff.learner("sklearn", SGDClassifier("log_loss", **CONSTANT)), "multiclass", Unsupported, "does not do multiclass")])
def test_what_cannot_be_trained_by_sums_is_refused(learner: ff.Learner, task: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(learner, task)
