"""What is learned: targets, models, learners, splits, and the gates a version must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.features import Derived, Feature, Features, FeatureView, Request, Udf
from fivefold.core.noun import Noun, define
from fivefold.core.sources import Source
from fivefold.core.time import instant

LEARNERS = ("lightgbm", "xgboost", "sklearn", "torch", "logistic", "trees", "object")
METRICS = {
    "auc": 1,
    "average_precision": 1,
    "accuracy": 1,
    "precision": 1,
    "recall": 1,
    "f1": 1,
    "logloss": -1,
    "brier": -1,
    "ece": -1,
    "rmse": -1,
    "mae": -1,
    "r2": 1,
    "ndcg@10": 1,
    "mrr": 1,
}
"""Every metric, with +1 where more is better and -1 where less is."""


class Target(msgspec.Struct, frozen=True, eq=False):
    """What to predict: an SQL expression over a source, and the column that says when its value is known.

    The source's `time` is the moment of prediction: features are taken as of it. `group` names the column that ranking
    metrics compare within.
    """

    source: Source
    label: str
    known: str | None = None
    group: str | None = None


class Learner(msgspec.Struct, frozen=True, eq=False):
    """How a model is fitted: a kind and its parameters, or an object of the project that has `fit` and `predict`."""

    kind: str
    params: Mapping[str, Any] = {}
    object: Any = None


def learner(kind: str, object: Any = None, **params: Any) -> Learner:
    """`learner("lightgbm", num_leaves=63)`, `learner("sklearn", Pipeline(...))`, `learner("torch", make, epochs=5)`.

    Raises Invalid for an unknown kind.
    """
    if kind not in LEARNERS:
        raise Invalid(f"no learner {kind!r} (have: {', '.join(LEARNERS)}).", hint=did_you_mean(kind, LEARNERS))
    if kind in ("sklearn", "torch", "object") and object is None:
        raise Invalid(
            f"learner({kind!r}) needs the object to fit as its second argument.",
            hint="For instance ff.learner('sklearn', LogisticRegression()).",
        )
    return Learner(kind, params, object)


class TimeSplit(msgspec.Struct, frozen=True):
    """Train on what was known before `test`, test on what happens from then on, up to `until` if given."""

    test: str
    until: str | None = None

    def __post_init__(self) -> None:
        start = instant(self.test, "TimeSplit, test")
        if self.until is not None and instant(self.until, "TimeSplit, until") <= start:
            raise Invalid(f"TimeSplit: until={self.until!r} is not after test={self.test!r}.")


class GroupSplit(msgspec.Struct, frozen=True):
    """No group is both in train and in test: `GroupSplit(by="customer", test=0.2)`."""

    by: str
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _share(self.test, "GroupSplit")


class RandomSplit(msgspec.Struct, frozen=True):
    """A share of the rows, chosen by a hash of their position, is the test."""

    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _share(self.test, "RandomSplit")


def _share(value: float, where: str) -> None:
    if not 0 < value < 1:
        raise Invalid(f"{where}: test={value!r} is not a share between 0 and 1.")


class Gate(msgspec.Struct, frozen=True):
    """A condition for promotion: absolute (`at_least`, `at_most`), or against an alias on the same rows (`beats`).

    `beats="champion", by=0.002` asks that the paired bootstrap interval of the improvement lies above `by`.
    `segment` names a column: the condition must hold within each of its values with at least `min_rows` test rows.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    beats: str | None = None
    by: float = 0.0
    segment: str | None = None
    min_rows: int = 500

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise Invalid(
                f"Gate: no metric {self.metric!r} (have: {', '.join(METRICS)}).",
                hint=did_you_mean(self.metric, METRICS),
            )
        if (self.at_least is None) and (self.at_most is None) and (self.beats is None):
            raise Invalid(
                f"Gate({self.metric!r}) asks for nothing.", hint="Give at_least=, at_most= or beats='champion'."
            )


class Tune(msgspec.Struct, frozen=True):
    """A search over parameters by optuna: `Tune({"num_leaves": (15, 127), "eta": (0.01, 0.3, "log")}, trials=20)`.

    A tuple is a range (whole when both ends are), a list a choice. Trials are judged on the newest share `holdout` of
    the training rows, never on the test rows.
    """

    space: Mapping[str, Any]
    trials: int = 20
    metric: str | None = None
    holdout: float = 0.2
    seed: int = 0


class Model(Noun, frozen=True, eq=False):
    """Features, a target, a learner and a split; the gates a version must pass before it is promoted.

    `tolerance` bounds how far the predictor may deviate from the training library. `trust_pickle=True` allows a format
    that runs code when loaded. `threads` and `seed` are inputs of the version.
    """

    kind: ClassVar[str] = "model"
    target: Target
    features: Sequence[Feature]
    learner: Learner
    split: TimeSplit | GroupSplit | RandomSplit
    metrics: Sequence[str] = ()
    gates: Sequence[Gate] = ()
    tune: Tune | None = None
    tolerance: float = 1e-5
    trust_pickle: bool = False
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        features = (self.features,) if not isinstance(self.features, list | tuple) else tuple(self.features)
        define(self, features=features, gates=tuple(self.gates), metrics=tuple(self.metrics))
        for item in self.features:
            if not isinstance(item, FeatureView | Features | Request | Derived | Udf):
                raise Invalid(
                    f"{self.ref}: {item!r} is not a feature.",
                    hint="Give feature views, view['name'], ff.Request, ff.Derived or ff.Udf.",
                )
        for metric in self.metrics:
            if metric not in METRICS:
                raise Invalid(
                    f"{self.ref}: no metric {metric!r} (have: {', '.join(METRICS)}).",
                    hint=did_you_mean(metric, METRICS),
                )
