from __future__ import annotations

import model_cases
import numpy as np
import pytest
import torch

from fivefold.core.errors import Invalid
from fivefold.core.learning import learner
from fivefold.models.fitted import Data, Fitted
from fivefold.models.learners import fit
from fivefold.models.learners.torch import batches
from fivefold.models.tasks import Task

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 3)) * [1, 100, 0.01] + [0, 1000, 5]
Y = (X[:, 0] > 0).astype(float)


def fitted(task: str = "binary", y: np.ndarray = Y, outputs: int = 1, seed: int = 0, **params: float) -> Fitted:
    made = learner("torch", model_cases.network(outputs), **params)
    return fit(made, X, y, task=Task(task), names=["a", "b", "c"], seed=seed, threads=1)


def test_it_learns_from_columns_of_any_scale() -> None:
    p = fitted(epochs=30, batch_size=64, lr=0.01).predict(X)
    assert ((p > 0.5) == (Y > 0)).mean() > 0.95


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    one, two, other = (fitted(epochs=2, seed=s).predict(X) for s in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_it_leaves_torchs_threads_and_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    fitted(epochs=1)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("size", [100, 601, 1])
def test_an_epoch_shows_every_row_once_in_another_order_each_time(size: int) -> None:
    data = Data(np.arange(1200.0).reshape(600, 2), np.arange(600.0), "binary", ("a", "b"), (), None, 0, 1)
    random = np.random.default_rng(0)
    epochs = [np.concatenate([y for _, y in batches(data, size, random)]) for _ in range(2)]
    assert all(sorted(e.tolist()) == list(range(600)) for e in epochs)
    assert not np.array_equal(*epochs)
    for x, y in batches(data, size, random):
        assert np.array_equal(x[:, 0], y * 2)
        assert len(x) <= size


def test_nulls_enter_as_the_mean_and_a_flag() -> None:
    seen = []

    class Look(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = torch.nn.Linear(6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return self.out(x)

    x = X.copy()
    x[::2, 1] = np.nan
    made = fit(
        learner("torch", lambda inputs: Look(), epochs=1), x, Y, task=Task("binary"), names=["a", "b", "c"], threads=1
    )
    seen.clear()
    made.predict(np.array([[0.0, np.nan, 5.0]]))
    assert seen[0][0, 1] == 0
    assert seen[0][0, 3:].tolist() == [0.0, 1.0, 0.0]


def test_a_module_of_another_shape_is_refused() -> None:
    make = learner("torch", lambda inputs: torch.nn.Linear(inputs + 1, 1))
    with pytest.raises(Invalid, match=r"torch refused to train: .*given 6 inputs a row"):
        fit(make, X, Y, task=Task("binary"), names=["a", "b", "c"])


def test_it_does_not_rank() -> None:
    with pytest.raises(Invalid, match="does not rank"):
        fitted("ranking")
