from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fivefold.core.errors import Invalid
from fivefold.core.learning import Learner, Tune, learner
from fivefold.models.tasks import Task
from fivefold.models.tuning import tune

random = np.random.default_rng(0)
X = random.normal(size=(300, 3))
Y = (X[:, 0] + random.normal(size=300) > 0).astype(float)
LEARNER = learner("lightgbm", n_estimators=3)


def search(how: Tune | None, y: np.ndarray = Y, task: str = "binary", **given: Any) -> tuple[Learner, list[Any]]:
    return tune(
        how,
        given.pop("learner", LEARNER),
        X,
        y,
        order=given.pop("order", np.arange(300)),
        task=Task(task),
        names=["a", "b", "c"],
        categorical=(),
        groups=given.pop("groups", None),
        threads=1,
        **given,
    )


def test_without_a_search_the_learner_stays() -> None:
    assert search(None) == (LEARNER, [])


def test_the_same_seed_gives_the_same_trials_and_another_seed_others() -> None:
    space = {"num_leaves": (3, 31), "learning_rate": (0.01, 0.5, "log"), "max_bin": [15, 63, 255]}
    (best, one), (again, two), (_, other) = (search(Tune(space, trials=4, seed=s)) for s in (1, 1, 2))
    assert one == two
    assert best.params == again.params
    assert one != other
    values = [t["auc"] for t in one]
    assert {k: best.params[k] for k in space} == one[int(np.argmax(values))]["params"]
    assert best.params["n_estimators"] == 3
    for trial in one:
        assert 3 <= trial["params"]["num_leaves"] <= 31
        assert isinstance(trial["params"]["num_leaves"], int)
        assert 0.01 <= trial["params"]["learning_rate"] <= 0.5


def test_trials_are_judged_on_the_newest_rows_and_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    # the newest fifth is labelled the other way round: a trial judged there must do worse than chance
    y = np.where(np.arange(300) < 240, Y, 1 - Y)
    _, trials = search(Tune({"num_leaves": [7]}, trials=2), y, progress=lambda *step: told.append(step))
    assert trials[0]["auc"] < 0.5
    assert told == [("tune", 1, 2), ("tune", 2, 2)]


def test_a_loss_is_made_small() -> None:
    best, trials = search(Tune({"learning_rate": (0.001, 0.5)}, trials=4, metric="logloss"))
    assert best.params["learning_rate"] == min(trials, key=lambda t: t["logloss"])["params"]["learning_rate"]


@pytest.mark.parametrize(
    "given", [(5, 3), (1, 1), (0, 1, "log"), (1, 2, "linear"), (1,), "wide", [], ("a", "b"), (True, False), {1, 2}]
)
def test_what_is_no_range_is_refused_before_anything_is_fitted(given: Any) -> None:
    with pytest.raises(Invalid, match="Tune: num_leaves=.* is no range"):
        search(Tune({"num_leaves": given}), learner=learner("lightgbm", nonsense=1))


@pytest.mark.parametrize("how", [Tune({}), Tune({"a": [1]}, trials=0), Tune({"a": [1]}, holdout=1.0)])
def test_a_search_of_nothing_is_refused(how: Tune) -> None:
    with pytest.raises(Invalid, match="searches nothing"):
        search(how)


def test_a_wrong_parameter_is_named_at_the_first_trial() -> None:
    with pytest.raises(Invalid, match="has no parameter 'num_leafs'"):
        search(Tune({"num_leafs": (3, 31)}, trials=2))


def test_rows_that_cannot_be_judged_on_are_refused() -> None:
    with pytest.raises(Invalid, match="auc is undefined on the 60 newest rows"):
        search(Tune({"num_leaves": (3, 31)}, trials=2), np.where(np.arange(300) < 240, Y, 1.0))
    with pytest.raises(Invalid, match="leaves no rows to learn from"):
        search(Tune({"num_leaves": (3, 31)}), order=np.zeros(300))
    late = np.where(np.arange(300) < 240, Y, 2.0)
    with pytest.raises(Invalid, match="the older rows have none of class 2"):
        search(Tune({"num_leaves": (3, 31)}), late, "multiclass")


def test_a_class_that_is_rare_at_the_end_keeps_its_place() -> None:
    y = np.where(np.arange(300) < 200, np.arange(300) % 3, 0).astype(float)
    _, trials = search(Tune({"num_leaves": [3, 7]}, trials=2), y, "multiclass")
    assert all(0 <= t["accuracy"] <= 1 for t in trials)


def test_rankers_are_judged_within_groups() -> None:
    _, trials = search(Tune({"num_leaves": [3, 7]}, trials=2), Y, "ranking", groups=np.arange(300) // 10)
    assert all(0 < t["ndcg@10"] <= 1 for t in trials)
