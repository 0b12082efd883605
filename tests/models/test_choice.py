from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_cases
import numpy as np
import pytest

from fivefold.core.errors import Invalid
from fivefold.core.learning import learner
from fivefold.models.choice import choose
from fivefold.models.fitted import Fitted, Predict
from fivefold.models.formats.linear import Columns, Linear, linear_predictor
from fivefold.models.learners import fit
from fivefold.models.tasks import Task

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 3))
Y = (X[:, 0] > 0).astype(float)
PLAIN = Linear(Columns((0.0,) * 3, (1.0,) * 3, (False,) * 3, (-1,) * 3), (0.1, 0.2, 0.3, 0.4), "regression")


def fitted(predict: Predict, to_onnx: Callable[[], bytes] | None = None, **given: Any) -> Fitted:
    return Fitted("linear", PLAIN, predict, {}, to_onnx, **given)


def boosted(**params: Any) -> Fitted:
    return fit(learner("xgboost", n_estimators=5, **params), X, Y, task=Task("binary"), names=["a", "b", "c"])


def test_an_xgboost_model_answers_by_onnx(packages: dict[str, model_cases.Built]) -> None:
    for task in ("binary", "multiclass", "regression", "ranking"):
        record = packages[f"xgboost-{task}"].package.record
        assert record["predictor"] == "onnx", record
        facts = record["candidates"]
        assert facts["onnx"]["microseconds"] < facts["xgboost"]["microseconds"]
        assert {p.name for p in (packages[f"xgboost-{task}"].folder / "model").iterdir()} == {"xgboost", "onnx"}


def test_a_lightgbm_model_answers_by_itself(packages: dict[str, model_cases.Built]) -> None:
    for name in ("lightgbm-binary", "lightgbm-multiclass", "lightgbm-categories"):
        built = packages[name]
        assert built.package.record["predictor"] == "lightgbm"
        assert [p.name for p in (built.folder / "model").iterdir()] == ["lightgbm"]


def test_a_conversion_outside_the_tolerance_is_left_and_why_is_noted(tmp_path: Path) -> None:
    predictor, found, notes = choose(boosted(), tmp_path, "binary", X, 0.0)
    assert predictor.format == "xgboost"
    assert found["xgboost"].deviation == 0.0 < found["onnx"].deviation
    assert notes[0].startswith("onnx: deviates by ")
    assert not (tmp_path / "onnx").exists()


def test_a_conversion_that_is_wrong_for_nulls_is_left_even_when_the_sample_has_none(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    holed = X.copy()
    holed[::7, 0] = np.nan
    made = fit(
        learner("sklearn", RandomForestClassifier(5)), holed, Y, task=Task("binary"), names=["a", "b", "c"], seed=1
    )
    assert made.nulls == (0,)
    predictor, found, _ = choose(made, tmp_path, "binary", X, 1e-5)
    assert predictor.format == "skops"
    assert found["onnx"].deviation > 0.01


def test_a_forest_that_never_saw_a_null_answers_by_onnx(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    made = fit(learner("sklearn", RandomForestClassifier(5)), X, Y, task=Task("binary"), names=["a", "b", "c"])
    assert choose(made, tmp_path, "binary", X, 1e-5)[0].format == "onnx"


def test_what_cannot_be_converted_is_noted_and_stays_native(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise KeyError("no such operator\nand more")

    predictor, found, notes = choose(fitted(linear_predictor(PLAIN), fail), tmp_path, "regression", X, 1e-9)
    assert (predictor.format, list(found)) == ("linear", ["linear"])
    assert notes == ["onnx: not convertible (KeyError: 'no such operator\\nand more')"]


def test_bytes_that_are_no_onnx_model_are_noted(tmp_path: Path) -> None:
    _, _, notes = choose(fitted(linear_predictor(PLAIN), lambda: b"nonsense"), tmp_path, "regression", X, 1e-9)
    assert "holds no onnx model that can be read" in notes[0]


@pytest.mark.parametrize(
    ("task", "predict", "said"),
    [
        ("binary", lambda x: np.full((len(x), 2), 0.5), r"predicts the shape \(300, 2\) .* gives \(n,\) numbers"),
        ("multiclass", lambda x: np.zeros(len(x)), r"predicts the shape \(300,\) .* gives \(n, k\) probabilities"),
        ("regression", lambda x: np.zeros(3), r"predicts the shape \(3,\) for 300 rows"),
        ("binary", lambda x: x[:, 0], "a binary model gives probabilities"),
        ("regression", lambda x: np.where(np.arange(len(x)) == 7, np.nan, 0.0), "predicts nan for row 7"),
    ],
)
def test_what_does_not_predict_what_the_task_asks_for_is_refused(
    tmp_path: Path, task: str, predict: Predict, said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        choose(fitted(predict), tmp_path, task, X, 1e-5)


def test_a_slow_model_is_asked_a_bounded_number_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fivefold.models import formats

    calls = []

    def counted(*given: Any) -> Predict:
        plain = linear_predictor(PLAIN)

        def predict(x: np.ndarray) -> np.ndarray:
            calls.append(len(x))
            return plain(x)

        return predict

    monkeypatch.setattr(formats, "load", counted)
    choose(fitted(linear_predictor(PLAIN)), tmp_path, "regression", np.tile(X, (10, 1)), 1e-9)
    assert len(calls) < 500
