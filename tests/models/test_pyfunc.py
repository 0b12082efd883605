from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import model_cases
import numpy as np
import pandas as pd
import pytest

from fivefold.core.errors import Invalid, Unsupported
from fivefold.models.package import load
from fivefold.models.pyfunc import PyFunc

ASKED = model_cases.rows(60, seed=12)


def opened(folder: Path) -> Any:
    """The package as MLflow opens it; MLflow and what it imports may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        return mlflow.pyfunc.load_model(str(folder))


def asked_by_pandas(model: Any, frame: pd.DataFrame) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(model.predict(frame))


@pytest.mark.parametrize("name", ["lightgbm-binary", "lightgbm-categories", "logistic-binary", "xgboost-multiclass"])
def test_mlflow_opens_a_package_and_gets_our_bits(packages: dict[str, model_cases.Built], name: str) -> None:
    folder = packages[name].folder
    loaded = load(folder)
    table = ASKED.select(loaded.encoding.names).drop_null()
    assert table.num_rows > 20
    assert np.array_equal(asked_by_pandas(opened(folder), table.to_pandas()), loaded.predict(table))


def test_mlflow_gets_our_bits_for_nulls_too(packages: dict[str, model_cases.Built]) -> None:
    folder = packages["logistic-binary"].folder
    expected = load(folder).predict(ASKED)
    plain = ASKED.to_pandas()
    for frame in (plain, plain.astype({"b": "Int64", "flag": "boolean"})):
        assert frame.isna().any().all()
        assert np.array_equal(asked_by_pandas(opened(folder), frame), expected)


def test_mlflow_knows_the_signature(packages: dict[str, model_cases.Built]) -> None:
    signature = opened(packages["lightgbm-multiclass"].folder).metadata.signature
    assert signature.inputs.input_names() == list(model_cases.NUMBERS)
    assert signature.outputs.input_names() == ["early", "mid", "late"]


def test_mlflow_never_unpickles(packages: dict[str, model_cases.Built]) -> None:
    with pytest.raises(Unsupported, match="stored as a pickle"):
        opened(packages["object-binary"].folder)


def test_the_input_example_is_one_the_model_answers(packages: dict[str, model_cases.Built]) -> None:
    folder = packages["logistic-binary"].folder
    examples = json.loads((folder / "input_example.json").read_text())
    assert examples == model_cases.rows(300, 1).slice(0, 3).to_pylist()


def test_a_column_of_another_type_is_named(packages: dict[str, model_cases.Built]) -> None:
    model = PyFunc(load(packages["logistic-binary"].folder))
    columns = {n: c.to_pylist() for n, c in zip(ASKED.column_names, ASKED.columns, strict=True)}
    for wrong in ([1.5] * 60, ["x", 1] * 30):
        with pytest.raises(Invalid, match="the feature 'b' does not hold int64 values"):
            model.predict({**columns, "b": wrong})
    with pytest.raises(Invalid, match="the feature 'b' is a column of string"):
        model.predict({**columns, "b": ["x"] * 60})
