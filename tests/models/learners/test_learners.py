"""What all learners have in common: odd data, wrong data, wrong parameters."""

from __future__ import annotations

import warnings
from typing import Any

import model_cases
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from fivefold.core.errors import Invalid
from fivefold.core.learning import Learner, learner
from fivefold.models.fitted import Fitted
from fivefold.models.learners import fit
from fivefold.models.tasks import Task

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = (X[:, 0] + RANDOM.normal(size=200) / 2 > 0).astype(float)
LEARNERS = {
    "lightgbm": lambda: learner("lightgbm", n_estimators=5),
    "xgboost": lambda: learner("xgboost", n_estimators=5),
    "logistic": lambda: learner("logistic"),
    "forest": lambda: learner("sklearn", RandomForestClassifier(5)),
    "hist": lambda: learner("sklearn", HistGradientBoostingClassifier(max_iter=5)),
    "torch": lambda: learner("torch", model_cases.network(1), epochs=1),
}


def fitted(made: Learner, x: np.ndarray = X, y: np.ndarray = Y, task: str = "binary", **given: Any) -> Fitted:
    with warnings.catch_warnings():
        # scikit-learn warns while it looks at huge values and empty columns
        warnings.simplefilter("ignore" if made.kind == "sklearn" else "error", RuntimeWarning)
        return fit(made, x, y, task=Task(task), names=[f"f{i}" for i in range(x.shape[1])], **given)


@pytest.mark.parametrize("name", LEARNERS)
def test_constant_and_empty_columns_do_no_harm(name: str) -> None:
    x = np.column_stack([X[:, 0], np.full(200, 7.0), np.full(200, np.nan)])
    if name == "hist":  # scikit-learn's own limit, said plainly
        with pytest.raises(Invalid, match="f2 has no value"):
            fitted(LEARNERS[name](), x)
        x[0, 2] = 1.0
    p = fitted(LEARNERS[name](), x).predict(x)
    assert np.isfinite(p).all()
    if name != "torch":
        assert np.corrcoef(p, Y)[0, 1] > 0.5


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_to_learn_from_gives_the_share_of_the_label(name: str) -> None:
    x = np.zeros((200, 2))
    p = fitted(LEARNERS[name](), x).predict(x)
    assert np.ptp(p) == 0
    if name != "torch":
        assert p[0] == pytest.approx(Y.mean(), abs=0.1)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_class_of_a_single_row_is_learned_without_complaint(name: str) -> None:
    y = np.zeros(200)
    y[3] = 1
    p = fitted(LEARNERS[name](), y=y).predict(X)
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("name", [*LEARNERS])
def test_huge_values_are_learned_from_or_refused_with_a_reason(name: str) -> None:
    x = X.copy()
    x[0, 0], x[1, 0] = 1e300, -1e300
    try:
        p = fitted(LEARNERS[name](), x).predict(x)
    except Invalid as e:
        assert name in ("xgboost", "forest", "torch"), e
        assert "refused to train" in e.message
        assert "too large" in e.message
    else:
        assert np.isfinite(p).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_infinite_values_are_refused_and_the_features_named(name: str) -> None:
    x = X.copy()
    x[0, 1] = np.inf
    x[:2, 2] = -np.inf
    with pytest.raises(Invalid, match=r"there are infinite values in f1 \(1 rows\), f2 \(2 rows\)"):
        fitted(LEARNERS[name](), x)


def test_a_label_that_is_no_number_is_refused() -> None:
    with pytest.raises(Invalid, match="2 of 200 labels are infinite or no number"):
        fitted(learner("logistic"), y=np.r_[np.nan, np.inf, Y[2:]], task="regression")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (learner("lightgbm", num_leafs=3), r"lightgbm has no parameter 'num_leafs'.*Did you mean 'num_lea"),
        (learner("lightgbm", num_leaves=1), "LightGBM refused to train: .*num_leaves"),
        (learner("lightgbm", num_leaves="many"), "LightGBM refused to train: .*num_leaves"),
        (learner("lightgbm", n_estimators=0), "num_iterations=0 is not a number of at least 1"),
        (learner("lightgbm", objective="nonsense"), "LightGBM refused to train: .*nonsense"),
        (learner("xgboost", max_dept=3), r"xgboost has no parameter 'max_dept'.*Did you mean 'max_depth'"),
        (learner("xgboost", max_depth=-5), "XGBoost refused to train: .*max_depth"),
        (learner("xgboost", eta="fast"), "XGBoost refused to train: eta='fast'"),
        (learner("xgboost", n_estimators=2.5), "n_estimators=2.5 is not a whole number"),
        (learner("sklearn", RandomForestClassifier(), depth=3), "Invalid parameter 'depth'"),
        (learner("sklearn", RandomForestClassifier(), max_depth="deep"), "'max_depth' parameter"),
        (learner("torch", model_cases.network(1), rate=1), r"torch has no parameter 'rate' \(have: batch_size, epochs"),
        (learner("torch", model_cases.network(1), epochs=0), "epochs=0 is not a number of at least 1"),
        (learner("torch", model_cases.network(1), lr="fast"), "lr='fast' is not a number"),
        (learner("logistic", l1=1), r"logistic has no parameter 'l1' \(have: l2, max_iter, tolerance\)"),
        (learner("logistic", l2=-1.0), r"l2=-1.0 is not a number of at least 0"),
        (learner("logistic", l2=float("nan")), "l2=nan is not a number"),
        (learner("logistic", max_iter=True), "max_iter=True is not a number"),
        (Learner("ligthgbm"), "no learner 'ligthgbm'"),
    ],
)
def test_a_wrong_parameter_is_named(made: Learner, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        fitted(made)


@pytest.mark.parametrize(
    "made",
    [
        learner("lightgbm", num_boost_round=3, eta=0.2, min_child_samples=5, reg_lambda=1.0, application="binary"),
        learner("xgboost", learning_rate=0.2, reg_lambda=2.0, num_boost_round=3, booster="dart", rate_drop=0.1),
    ],
)
def test_a_librarys_other_names_are_taken(made: Learner) -> None:
    assert fitted(made).params["n_estimators"] == 3


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_a_ranking_learns_within_groups_wherever_their_rows_stand(kind: str) -> None:
    groups = RANDOM.permutation(np.repeat(np.arange(20), 10))
    y = np.digitize(X[:, 0], [-0.5, 0.5]).astype(float)
    p = fitted(learner(kind, n_estimators=10), y=y, task="ranking", groups=groups).predict(X)
    assert p.shape == (200,)
    assert np.corrcoef(p, y)[0, 1] > 0.7


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_a_class_without_rows_still_has_its_place(name: str) -> None:
    y = np.where(Y > 0, 2.0, 0.0)
    p = fitted(learner(name, n_estimators=3), y=y, task="multiclass", classes=4).predict(X)
    assert p.shape == (200, 4)
    assert p[:, [1, 3]].max() < p[:, [0, 2]].min() + 0.5


@pytest.mark.parametrize("name", model_cases.CASES)
def test_nulls_that_training_had_are_known(packages: dict[str, model_cases.Built], name: str) -> None:
    built = packages[name]
    assert built.fitted.nulls == tuple(range(len(built.encoding.names)))
