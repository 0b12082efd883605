from __future__ import annotations

from typing import Any

import model_cases
import numpy as np
import pytest

from fivefold.core.errors import Invalid
from fivefold.core.learning import learner
from fivefold.models.fitted import Fitted
from fivefold.models.learners import fit
from fivefold.models.tasks import Task

X = np.random.default_rng(0).normal(size=(50, 2))
Y = (X[:, 0] > 0).astype(float)


def fitted(given: Any, *, trust: bool = True, **params: Any) -> Fitted:
    return fit(learner("object", given, **params), X, Y, task=Task("binary"), names=["a", "b"], trust_pickle=trust)


def test_a_class_is_made_with_the_parameters_and_an_object_is_copied() -> None:
    assert fitted(model_cases.Mean, points=5).model.points == 5
    given = model_cases.Mean(4)
    made = fitted(given)
    assert made.model.points == 4
    assert not hasattr(given, "means")


def test_it_is_refused_unless_its_pickle_is_trusted() -> None:
    with pytest.raises(Invalid, match=r"a Mean can only be stored as a pickle.*declare Model\(trust_pickle=True\)"):
        fitted(model_cases.Mean(), trust=False)


def test_an_object_without_fit_is_refused() -> None:
    with pytest.raises(Invalid, match="dict has no method 'fit'"):
        fitted({})
