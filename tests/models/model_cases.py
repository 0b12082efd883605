"""One model for each learner and task it does, on the same small rows; runs as a program too, in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from fivefold.core.learning import Learner, learner
from fivefold.core.types import Type
from fivefold.models.encode import Encoding, fit_encoding
from fivefold.models.fitted import Fitted
from fivefold.models.learners import fit
from fivefold.models.package import FeatureInfo, Package, load, write_package
from fivefold.models.tasks import Task

TYPES = {"a": Type.FLOAT64, "b": Type.INT64, "flag": Type.BOOL, "c": Type.FLOAT64, "kind": Type.STRING}
NUMBERS = ("a", "b", "flag", "c")
ALL = tuple(TYPES)
KEY = "0123456789abcdef" * 4


class Case(NamedTuple):
    """A learner, made anew at each call, for a task, on some features."""

    learner: Callable[[], Learner]
    task: str
    names: tuple[str, ...] = ALL


class Mean:
    """A model of the project: the mean of the nearest of a few fixed points."""

    def __init__(self, points: int = 3) -> None:
        self.points = points

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        self.cuts = np.nanquantile(x[:, 0], np.linspace(0, 1, self.points + 1)[1:-1])
        place = np.searchsorted(self.cuts, np.nan_to_num(x[:, 0]))
        self.means = np.array([y[place == i].mean() for i in range(self.points)])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.means[np.searchsorted(self.cuts, np.nan_to_num(x[:, 0]))]


class Shares(Mean):
    """The same for classes: their shares."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        super().fit(x, y)
        self.shares = np.array([np.bincount(y.astype(int), minlength=3) / len(y) for _ in range(self.points)])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.shares[np.searchsorted(self.cuts, np.nan_to_num(x[:, 0]))]


def network(outputs: int) -> Callable[[int], Any]:
    """What makes a small network of as many outputs."""

    def make(inputs: int) -> Any:
        from torch import nn

        return nn.Sequential(
            nn.Linear(inputs, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.Linear(16, outputs)
        )

    return make


def imputed(estimator: Any) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), estimator)


def forest(task: str) -> Learner:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if task in ("regression", "ranking") else RandomForestClassifier
    return learner("sklearn", kind(), n_estimators=8, max_depth=5)


def hist(task: str) -> Learner:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if task in ("regression", "ranking") else HistGradientBoostingClassifier
    return learner("sklearn", kind(), max_iter=8, max_leaf_nodes=7)


def linear(task: str) -> Learner:
    from sklearn.linear_model import LogisticRegression, Ridge

    return learner("sklearn", imputed(Ridge() if task in ("regression", "ranking") else LogisticRegression()))


def _cases() -> Iterator[tuple[str, Case]]:
    tasks = ("binary", "multiclass", "regression", "ranking")
    for task in tasks:
        yield (
            f"lightgbm-{task}",
            Case(lambda: learner("lightgbm", n_estimators=8, num_leaves=7, min_data_in_leaf=5), task, NUMBERS),
        )
        yield f"xgboost-{task}", Case(lambda: learner("xgboost", n_estimators=8, max_depth=3), task)
        yield f"linear-{task}", Case(lambda task=task: linear(task), task)  # type: ignore[misc]
    for task in tasks[:3]:
        yield f"forest-{task}", Case(lambda task=task: forest(task), task)  # type: ignore[misc]
        yield f"hist-{task}", Case(lambda task=task: hist(task), task)  # type: ignore[misc]
        outputs = 3 if task == "multiclass" else 1
        yield f"torch-{task}", Case(lambda n=outputs: learner("torch", network(n), epochs=2), task)  # type: ignore[misc]
        own = Shares if task == "multiclass" else Mean
        yield f"object-{task}", Case(lambda own=own: learner("object", own, points=4), task)  # type: ignore[misc]
    for task in ("binary", "regression"):
        yield f"logistic-{task}", Case(lambda: learner("logistic", l2=0.5), task)
    yield "lightgbm-categories", Case(lambda: learner("lightgbm", n_estimators=8, num_leaves=7), "binary")


CASES = dict(_cases())


def rows(count: int, seed: int) -> pa.Table:
    """Features with nulls, and a text of few kinds."""
    random = np.random.default_rng(seed)

    def holes(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        return pa.array(values.tolist(), kind, mask=random.random(count) < 0.1)

    return pa.table(
        {
            "a": holes(random.normal(size=count), pa.float64()),
            "b": holes(random.integers(-1000, 1000, count), pa.int64()),
            "flag": holes(random.random(count) < 0.4, pa.bool_()),
            "c": holes(random.exponential(30, size=count), pa.float64()),
            "kind": holes(np.array(["x", "y", "z"])[random.integers(0, 3, count)], pa.string()),
        }
    )


def labels(task: str, table: pa.Table, seed: int) -> np.ndarray:
    """Labels that depend on the features, with noise."""
    a = np.nan_to_num(np.array(table["a"].to_pylist(), dtype=float))
    c = np.nan_to_num(np.array(table["c"].to_pylist(), dtype=float)) / 30
    found = 2 * a + c + np.random.default_rng(seed).normal(size=len(a)) / 2
    if task == "binary":
        return (found > 1).astype(float)
    if task in ("multiclass", "ranking"):
        return np.digitize(found, [0.0, 2.0]).astype(float)
    return found


class Built(NamedTuple):
    """A package, and what it was made from."""

    folder: Path
    package: Package
    fitted: Fitted
    encoding: Encoding
    x: np.ndarray


def build(
    case: Case, folder: Path, *, threads: int = 1, tolerance: float = 1e-5, table: pa.Table | None = None
) -> Built:
    """Fit a case and write its package."""
    table = rows(300, seed=1) if table is None else table
    y = labels(case.task, table, seed=2)
    encoding = fit_encoding(table, case.names, TYPES)
    x = encoding.matrix(table)
    fitted = fit(
        case.learner(),
        x,
        y,
        task=Task(case.task),
        names=case.names,
        categorical=encoding.categorical,
        groups=np.arange(len(y)) // 10 if case.task == "ranking" else None,
        seed=3,
        threads=threads,
        trust_pickle=True,
    )
    package = write_package(
        folder,
        name="late",
        key=KEY,
        fitted=fitted,
        encoding=encoding,
        task=Task(case.task),
        classes=["early", "mid", "late"] if case.task == "multiclass" else None,
        features=[FeatureInfo(n, TYPES[n].value) for n in case.names],
        example=table.select(case.names).slice(0, 3),
        sample=x[:100],
        tolerance=tolerance,
        definition={"kind": "model", "name": "late"},
        environment={"python": "3.11.7", "machine": "x86_64", "numpy": "2.4.6"},
    )
    return Built(folder, package, fitted, encoding, x)


def digest_of(folder: Path) -> str:
    """The digest that names a package."""
    from fivefold.backends.memory.artifacts import Artifacts
    from fivefold.ports.trees import put_tree

    return put_tree(Artifacts("memory:"), folder)


def main(what: str, folder: Path) -> None:
    """`build`: every case, its digest printed as JSON. `answer`: every package loaded and asked, answers in a file."""
    if what == "build":
        print(json.dumps({name: digest_of(build(case, folder / name).folder) for name, case in CASES.items()}))
        return
    asked = rows(200, seed=4)
    found = {name: load(folder / name, trust_pickle=True).predict(asked) for name in CASES}
    np.savez(folder / "answers.npz", **found)


if __name__ == "__main__":
    # pickled by its name, not as __main__.Mean
    import model_cases

    model_cases.main(sys.argv[1], Path(sys.argv[2]))
