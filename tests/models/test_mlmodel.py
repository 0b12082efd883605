from __future__ import annotations

import json

import model_cases
import pyarrow as pa
import yaml

from fivefold.models.mlmodel import input_example, mlmodel, python_env, requirements
from fivefold.models.package import FeatureInfo
from fivefold.models.tasks import Task

ENVIRONMENT = {"python": "3.12.1", "machine": "arm64", "numpy": "2.4.6", "lightgbm": "4.7.0"}


def test_odd_names_survive_yaml() -> None:
    names = ["it's", 'a "b"', "x: y", "# no", "ü\t"]
    features = [FeatureInfo(n, "float64") for n in names]
    made = yaml.safe_load(mlmodel("o'late: x", model_cases.KEY, features, Task("binary"), None, ENVIRONMENT))
    assert made["name"] == "o'late: x"
    assert [i["name"] for i in json.loads(made["signature"]["inputs"])] == names
    assert made["flavors"]["python_function"]["loader_module"] == "fivefold.models.pyfunc"
    assert made["flavors"]["python_function"]["python_version"] == "3.12.1"


def test_another_key_is_another_model_for_mlflow_and_the_same_key_the_same() -> None:
    one, same, other = (
        yaml.safe_load(mlmodel("m", key, [], Task("binary"), None, {}))["model_uuid"] for key in ("a", "a", "b")
    )
    assert one == same != other


def test_requirements_pin_packages_and_nothing_else() -> None:
    assert requirements(ENVIRONMENT) == "lightgbm==4.7.0\nnumpy==2.4.6\n"
    assert yaml.safe_load(python_env(ENVIRONMENT))["python"] == "3.12.1"


def test_what_json_has_no_number_for_is_null_in_the_example() -> None:
    table = pa.table({"x": [1.5, float("nan"), float("inf"), None], "s": ["ü", None, "", "NaN"]})
    assert json.loads(input_example(table)) == [
        {"x": 1.5, "s": "ü"},
        {"x": None, "s": None},
        {"x": None, "s": ""},
        {"x": None, "s": "NaN"},
    ]
