from __future__ import annotations

import numpy as np
import pytest

from fivefold.models.importance import MOST_ROWS, importance
from fivefold.models.tasks import Task

random = np.random.default_rng(0)
X = random.normal(size=(400, 3))


def test_what_the_model_uses_most_comes_first_and_shares_sum_to_one() -> None:
    y = 3 * X[:, 1] + X[:, 2]
    found = importance(lambda x: 3 * x[:, 1] + x[:, 2], X, y, Task("regression"), ["none", "much", "some"])
    assert list(found) == ["much", "some", "none"]
    assert found["none"] == 0
    assert sum(found.values()) == pytest.approx(1)


def test_it_is_the_same_for_the_same_seed() -> None:
    y = (X[:, 0] > 0).astype(float)
    one, two = (
        importance(lambda x: 1 / (1 + np.exp(-x[:, 0] - x[:, 1])), X, y, Task("binary"), ["a", "b", "c"], seed=4)
        for _ in range(2)
    )
    assert one == two


def test_nothing_matters_to_a_constant() -> None:
    found = importance(lambda x: np.zeros(len(x)), X, X[:, 0], Task("regression"), ["a", "b", "c"])
    assert set(found.values()) == {0.0}


def test_it_asks_for_a_bounded_number_of_rows() -> None:
    asked = []

    def predict(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return x[:, 0]

    importance(predict, random.normal(size=(MOST_ROWS + 100, 1)), np.ones(MOST_ROWS + 100), Task("regression"), ["a"])
    assert max(asked) == MOST_ROWS


def test_groups_stay_with_their_rows() -> None:
    groups = np.repeat(np.arange(40), 10)
    y = (X[:, 0] > 0).astype(float)
    found = importance(lambda x: x[:, 0], X, y, Task("ranking"), ["a", "b", "c"], groups=groups)
    assert found["a"] == 1.0


def test_classes_are_judged_by_their_probabilities() -> None:
    y = np.digitize(X[:, 2], [-0.5, 0.5]).astype(float)

    def predict(x: np.ndarray) -> np.ndarray:
        return np.eye(3)[np.digitize(x[:, 2], [-0.5, 0.5])] * 0.94 + 0.02

    assert importance(predict, X, y, Task("multiclass"), ["a", "b", "c"])["c"] == 1.0
