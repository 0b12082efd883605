from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from fivefold.core.errors import Invalid
from fivefold.core.learning import METRICS
from fivefold.models.metrics import DEFAULT_METRICS, OF_TASK, improvement, prepare, score
from fivefold.models.tasks import Task

BINARY, MULTI, NUMBER, RANK = (Task(n) for n in ("binary", "multiclass", "regression", "ranking"))
SCIKIT = {
    "auc": lambda y, p, w: sk.roc_auc_score(y, p, sample_weight=w),
    "average_precision": lambda y, p, w: sk.average_precision_score(y, p, sample_weight=w),
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p >= 0.5, sample_weight=w),
    "precision": lambda y, p, w: sk.precision_score(y, p >= 0.5, sample_weight=w, zero_division=0),
    "recall": lambda y, p, w: sk.recall_score(y, p >= 0.5, sample_weight=w),
    "f1": lambda y, p, w: sk.f1_score(y, p >= 0.5, sample_weight=w, zero_division=0),
    "logloss": lambda y, p, w: sk.log_loss(y, np.clip(p, 1e-15, 1 - 1e-15), sample_weight=w, labels=[0, 1]),
    "brier": lambda y, p, w: sk.brier_score_loss(y, p, sample_weight=w),
}


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of both kinds, probabilities with many ties, and weights of which some are 0."""
    n = draw(st.integers(2, 40))
    y = draw(arrays(float, n, elements=st.sampled_from([0.0, 1.0])))
    y[:2] = [0.0, 1.0]
    p = draw(arrays(float, n, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.75, 1.0])))
    w = draw(arrays(float, n, elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    w[:2] = 1.0
    return y, p, w


@pytest.mark.parametrize("name", SCIKIT)
@given(judged())
@settings(max_examples=60, deadline=None)
def test_a_binary_metric_is_that_of_scikit_learn_with_any_weights(
    name: str, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    y, p, w = rows
    assert prepare(BINARY, name, y, p)(w) == pytest.approx(SCIKIT[name](y, p, w), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("rmse", sk.root_mean_squared_error),
        ("mae", sk.mean_absolute_error),
        ("r2", sk.r2_score),
    ],
)
def test_a_regression_metric_is_that_of_scikit_learn(name: str, theirs: object) -> None:
    random = np.random.default_rng(0)
    y, p, w = random.normal(size=200), random.normal(size=200), random.integers(0, 3, 200).astype(float)
    assert prepare(NUMBER, name, y, p)(w) == pytest.approx(theirs(y, p, sample_weight=w))  # type: ignore[operator]


def test_multiclass_metrics_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    y, p, w = random.integers(0, 4, 300).astype(float), random.dirichlet(np.ones(4), 300), random.random(300)
    said = p.argmax(axis=1)
    theirs = {
        "accuracy": sk.accuracy_score(y, said, sample_weight=w),
        "logloss": sk.log_loss(y, p, sample_weight=w),
        "f1": sk.f1_score(y, said, average="macro", sample_weight=w),
        "brier": float(np.average(((p - np.eye(4)[y.astype(int)]) ** 2).sum(axis=1), weights=w)),
    }
    for name, value in theirs.items():
        assert prepare(MULTI, name, y, p)(w) == pytest.approx(value), name


def test_ndcg_is_the_mean_of_scikit_learns_over_groups_with_something_relevant() -> None:
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), random.integers(2, 25, 30))
    y, p = random.integers(0, 4, len(groups)).astype(float), random.normal(size=len(groups))
    y[groups == 3] = 0
    each = [sk.ndcg_score([y[groups == g]], [p[groups == g]], k=10) for g in range(30) if g != 3]
    mixed = random.permutation(len(groups))
    assert score(RANK, y[mixed], p[mixed], ["ndcg@10"], groups=groups[mixed])["ndcg@10"].value == pytest.approx(
        np.mean(each)
    )


def test_mrr_is_the_mean_of_one_over_the_first_relevant_place() -> None:
    y = np.array([0, 1, 0, 1, 0, 0, 0.0])
    p = np.array([3, 2, 1, 9, 8, 1, 2.0])
    groups = np.array(["a", "a", "a", "b", "b", "c", "c"], dtype=object)
    assert prepare(RANK, "mrr", y, p, groups)(np.ones(7)) == pytest.approx((1 / 2 + 1) / 2)


def test_ece_of_calibrated_bins_is_zero_and_of_confident_mistakes_is_one() -> None:
    y = np.array([0.0, 1.0] * 50)
    assert prepare(BINARY, "ece", y, np.full(100, 0.5))(np.ones(100)) == pytest.approx(0)
    assert prepare(BINARY, "ece", y, 1 - y)(np.ones(100)) == pytest.approx(1)


def test_every_metric_and_task_is_known_to_the_nouns() -> None:
    assert {m for of in OF_TASK.values() for m in of} == set(METRICS)
    assert all(set(DEFAULT_METRICS[t]) <= set(OF_TASK[t]) for t in OF_TASK)


def test_a_weight_of_two_is_the_row_twice() -> None:
    random = np.random.default_rng(3)
    y, p = (random.random(60) < 0.4).astype(float), random.random(60).round(1)
    w = random.integers(1, 4, 60)
    for name in OF_TASK["binary"]:
        repeated = prepare(BINARY, name, np.repeat(y, w), np.repeat(p, w))(np.ones(int(w.sum())))
        assert prepare(BINARY, name, y, p)(w.astype(float)) == pytest.approx(repeated), name


def test_scores_are_the_same_for_the_same_seed_and_lie_in_their_interval() -> None:
    random = np.random.default_rng(4)
    y = (random.random(300) < 0.5).astype(float)
    p = np.clip(y * 0.3 + random.random(300) * 0.7, 0, 1)
    one, two = (score(BINARY, y, p, OF_TASK["binary"], seed=5) for _ in range(2))
    assert one == two
    assert all(m.low <= m.value <= m.high for n, m in one.items() if n != "ece")


def test_a_paired_improvement_is_surer_than_two_intervals() -> None:
    random = np.random.default_rng(5)
    y = random.normal(size=400)
    old = y + random.normal(size=400)
    new = y + (old - y) * 0.98
    found = improvement(NUMBER, "rmse", y, old, new)
    assert found.low > 0
    alone = score(NUMBER, y, old, ["rmse"])["rmse"]
    assert alone.high - alone.low > found.high - found.low


def test_a_metric_of_another_task_names_those_there_are() -> None:
    with pytest.raises(Invalid, match=r"auc does not measure a regression model \(accepted: rmse, mae, r2\)"):
        prepare(NUMBER, "auc", np.ones(3), np.ones(3))


def test_an_undefined_metric_says_why() -> None:
    with pytest.raises(Invalid, match="auc is undefined on these 4 rows. All rows have the same label"):
        score(BINARY, np.ones(4), np.linspace(0, 1, 4), ["auc"])
    with pytest.raises(Invalid, match="rmse is undefined on these 0 rows"):
        score(NUMBER, np.empty(0), np.empty(0), ["rmse"])


@pytest.mark.parametrize("task", ["binary", "regression", "ranking", "multiclass"])
def test_predictions_that_are_no_numbers_are_counted_and_refused(task: str) -> None:
    p = np.full((10, 2), 0.5) if task == "multiclass" else np.full(10, 0.5)
    p[3] = p[7] = np.nan
    with pytest.raises(Invalid, match="2 of 10 predictions are infinite or no number"):
        prepare(Task(task), DEFAULT_METRICS[task][0], np.arange(10.0) % 2, p, np.zeros(10))


def test_a_ranking_metric_needs_groups() -> None:
    with pytest.raises(Invalid, match="Give the target a group="):
        prepare(RANK, "mrr", np.ones(2), np.ones(2))
