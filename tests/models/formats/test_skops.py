from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import calibration, ensemble, gaussian_process, linear_model, naive_bayes, neighbors, neural_network, svm
from sklearn import preprocessing as pre
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from fivefold.core.errors import Invalid
from fivefold.models import formats
from fivefold.models.formats.skops import TRUSTED, predictor

X = np.random.default_rng(0).normal(size=(120, 4))
Y = (X[:, 0] > 0).astype(np.int64)
ESTIMATORS: dict[str, Callable[[], Any]] = {
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "extra trees": lambda: ensemble.ExtraTreesClassifier(4, random_state=0),
    "gradient boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=4, random_state=0),
    "hist": lambda: ensemble.HistGradientBoostingClassifier(max_iter=4, random_state=0),
    "ada": lambda: ensemble.AdaBoostClassifier(n_estimators=4, random_state=0),
    "bagging": lambda: ensemble.BaggingClassifier(n_estimators=4, random_state=0),
    "stacking": lambda: ensemble.StackingClassifier([("a", linear_model.LogisticRegression())], cv=2),
    "voting": lambda: ensemble.VotingClassifier([("a", linear_model.LogisticRegression())], voting="soft"),
    "sgd": lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0),
    "calibrated": lambda: calibration.CalibratedClassifierCV(linear_model.RidgeClassifier(), cv=2),
    "isotonic": lambda: calibration.CalibratedClassifierCV(svm.LinearSVC(), method="isotonic", cv=2),
    "svc": svm.SVC,
    "bayes": naive_bayes.GaussianNB,
    "neighbours": lambda: neighbors.KNeighborsClassifier(metric="manhattan"),
    "ball tree": lambda: neighbors.KNeighborsClassifier(algorithm="ball_tree"),
    "gaussian process": gaussian_process.GaussianProcessClassifier,
    "network": lambda: neural_network.MLPClassifier((4,), max_iter=2000, tol=1e-2, random_state=0),
    "tweedie": linear_model.TweedieRegressor,
    "pipeline": lambda: make_pipeline(
        SimpleImputer(),
        ColumnTransformer([("bins", pre.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"), [0, 1])],
                          remainder=pre.QuantileTransformer(n_quantiles=20)),
        SelectKBest(k=2),
        linear_model.LogisticRegression(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_common_estimator_is_stored_and_answers_the_same(tmp_path: Path, name: str) -> None:
    made = ESTIMATORS[name]().fit(X, Y)
    task = "binary" if hasattr(made, "predict_proba") else "regression"
    formats.save("skops", made, tmp_path, task)
    assert np.array_equal(formats.load("skops", tmp_path, task)(X), predictor(made, task)(X))
    first = (tmp_path / "model.skops").read_bytes()
    formats.save("skops", ESTIMATORS[name]().fit(X, Y), tmp_path, task)
    assert (tmp_path / "model.skops").read_bytes() == first


def test_every_trusted_name_is_a_class_or_a_harmless_function_of_its_module() -> None:
    functions = set()
    for name in TRUSTED:
        module, _, thing = name.rpartition(".")
        found = getattr(importlib.import_module(module), thing)
        if not isinstance(found, type):
            functions.add(thing)
    assert functions == {
        "asarray",
        "chi2",
        "f_classif",
        "f_regression",
        "mutual_info_classif",
        "mutual_info_regression",
    }


def test_an_archive_has_no_dates_and_no_addresses(tmp_path: Path) -> None:
    formats.save("skops", ensemble.RandomForestClassifier(3, random_state=0).fit(X, Y), tmp_path, "binary")
    with zipfile.ZipFile(tmp_path / "model.skops") as archive:
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        names = archive.namelist()
        schema = archive.read("schema.json").decode()
    assert all(int(Path(n).stem) < 10_000 for n in names if n != "schema.json")
    ids = [int(line.split(":")[1].rstrip(" ,")) for line in schema.splitlines() if '"__id__"' in line]
    assert max(ids) < 10_000


def planted(tmp_path: Path, function: dict[str, Any]) -> None:
    """A FunctionTransformer whose function is another one."""
    import skops.io

    honest = make_pipeline(pre.FunctionTransformer(np.exp, kw_args={}), linear_model.LinearRegression()).fit(X, Y)
    archive = skops.io.dumps(honest)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as held, zipfile.ZipFile(out, "w") as made:
        for name in held.namelist():
            content = held.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                content = json.dumps(swapped(schema, function)).encode()
            made.writestr(name, content)
    (tmp_path / "model.skops").write_bytes(out.getvalue())


def swapped(node: Any, function: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [swapped(item, function) for item in node]
    if isinstance(node, dict):
        if node.get("__class__") == "exp":
            return {**node, **function}
        return {k: swapped(v, function) for k, v in node.items()}
    return node


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.utils._testing", "check_output"),
        ("sklearn.datasets._base", "load_files"),
        ("os", "system"),
        ("builtins", "eval"),
        ("subprocess", "run"),
        ("joblib", "load"),
        ("numpy", "load"),
    ],
)
def test_a_function_that_could_run_code_is_named_and_refused(tmp_path: Path, module: str, name: str) -> None:
    planted(tmp_path, {"__module__": module, "__class__": name, "__loader__": "FunctionNode",
                       "content": {"module_path": module, "function": name}})  # fmt: skip
    with pytest.raises(Invalid, match=rf"not trusted: {module}.{name}"):
        formats.load("skops", tmp_path, "regression")


class Own(linear_model.LinearRegression):
    """A class of the project."""


def test_an_estimator_of_the_project_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"types that are not trusted: .*Own"):
        formats.save("skops", Own().fit(X, Y), tmp_path, "regression")
    with pytest.raises(Invalid, match="types that are not trusted: builtins.print|not trusted: .*print"):
        formats.save("skops", pre.FunctionTransformer(print), tmp_path, "regression")
