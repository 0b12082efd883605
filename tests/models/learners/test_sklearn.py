from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fivefold.core.errors import Invalid
from fivefold.core.learning import learner
from fivefold.models.fitted import Fitted
from fivefold.models.learners import fit
from fivefold.models.tasks import Task

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(float)


def fitted(estimator: Any, x: np.ndarray = X, **params: Any) -> Fitted:
    return fit(learner("sklearn", estimator, **params), x, Y, task=Task("binary"), names=["a", "b", "c"], seed=7)


def test_the_estimator_given_stays_as_it_was() -> None:
    given = RandomForestClassifier(3)
    made = fitted(given, max_depth=2)
    assert given.max_depth is None
    assert not hasattr(given, "classes_")
    assert made.params["max_depth"] == 2


def test_the_seed_reaches_every_part_that_has_none() -> None:
    made = fitted(make_pipeline(StandardScaler(), RandomForestClassifier(3)))
    assert made.model[-1].random_state == 7
    assert fitted(RandomForestClassifier(3, random_state=1)).model.random_state == 1


def test_a_parameter_of_a_part_is_set_by_its_path() -> None:
    made = fitted(make_pipeline(StandardScaler(), LogisticRegression()), logisticregression__C=0.5)
    assert made.model[-1].C == 0.5


def test_classes_are_integers_and_the_second_is_true() -> None:
    made = fitted(LogisticRegression())
    assert made.model.classes_.tolist() == [0, 1]
    assert made.model.classes_.dtype == np.int64
    assert np.array_equal(made.predict(X), made.model.predict_proba(X)[:, 1])


def test_nulls_that_an_estimator_does_not_take_are_named() -> None:
    x = X.copy()
    x[0, 1] = np.nan
    with pytest.raises(Invalid, match=r"LogisticRegression takes no nulls, but there are some in b.*SimpleImputer"):
        fitted(LogisticRegression(), x)


def test_a_classifier_without_probabilities_is_refused() -> None:
    with pytest.raises(Invalid, match=r"RidgeClassifier gives no probabilities.*CalibratedClassifierCV"):
        fitted(RidgeClassifier())
