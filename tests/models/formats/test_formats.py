from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import model_cases
import pytest

from fivefold.core.errors import Invalid
from fivefold.models import formats

MISSING = """
import importlib.abc, sys
class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
from fivefold.core.errors import Unsupported
"""
LOAD = """
from pathlib import Path
from fivefold.models.package import load
try:
    load(Path(sys.argv[2]))
except Unsupported as e:
    print(e)
"""
FIT = """
import numpy as np
from fivefold.core.learning import learner, Tune
from fivefold.models.learners import fit
from fivefold.models.tuning import tune
from fivefold.models.tasks import Task
kind = sys.argv[2]
x, y = np.arange(20.0)[:, None], np.arange(20.0) % 2
try:
    if kind == "optuna":
        tune(Tune({"l2": (0.1, 1.0)}), learner("logistic"), x, y, order=y, task=Task("binary"), names=["a"],
             categorical=(), groups=None, threads=1)
    fit(learner(kind, object()), x, y, task=Task("binary"), names=["a"])
except Unsupported as e:
    print(e)
"""


def without(modules: str, program: str, argument: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", MISSING + program, modules, argument], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [
        ("xgboost-binary", "onnxruntime", "onnxruntime", "xgboost"),
        ("lightgbm-categories", "lightgbm", "lightgbm", "lightgbm"),
        ("xgboost-native", "xgboost", "xgboost-cpu", "xgboost"),
        ("forest-binary", "skops", "skops", "sklearn"),
        ("torch-binary", "torch", "torch", "torch"),
        ("torch-binary", "safetensors", "torch", "torch"),
    ],
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    packages: dict[str, model_cases.Built], tmp_path: Path, name: str, module: str, package: str, extra: str
) -> None:
    if name == "xgboost-native":
        folder = model_cases.build(model_cases.CASES["xgboost-binary"], tmp_path / "p", tolerance=0.0).folder
    else:
        folder = packages[name].folder
    assert without(module, LOAD, str(folder)) == (
        f"this model needs the package '{package}', which is not installed. Run: pip install 'fivefold[{extra}]'"
    )


@pytest.mark.parametrize(
    ("kind", "modules", "extra"),
    [
        ("lightgbm", "lightgbm", "lightgbm"),
        ("xgboost", "xgboost", "xgboost"),
        ("sklearn", "sklearn", "sklearn"),
        ("torch", "torch", "torch"),
        ("optuna", "optuna", "tune"),
    ],
)
def test_a_learner_whose_library_is_missing_says_the_command(kind: str, modules: str, extra: str) -> None:
    assert without(modules, FIT, kind).endswith(f"is not installed. Run: pip install 'fivefold[{extra}]'")


def test_a_package_is_used_without_the_library_that_trained_it(packages: dict[str, model_cases.Built]) -> None:
    folder = str(packages["xgboost-binary"].folder)
    gone = "lightgbm,sklearn,xgboost,torch,onnx,onnxmltools,skl2onnx,pandas,optuna,mlflow"
    assert without(gone, LOAD + "print('loaded')", folder) == "loaded"


def test_an_unknown_format_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no model format 'joblib' \\(have: lightgbm, xgboost, onnx"):
        formats.load("joblib", tmp_path, "binary")


@pytest.mark.parametrize("name", [n for n in formats.FORMATS if n != "pickle"])
@pytest.mark.parametrize("content", [b"", b"\0\1\2" * 100, b"{}", b"\xff" * 10])
def test_a_file_of_something_else_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    files = {"lightgbm": ["model.txt"], "xgboost": ["model.json"], "onnx": ["model.onnx"], "skops": ["model.skops"],
             "torch": ["weights.safetensors", "program.json"], "linear": ["linear.json"]}  # fmt: skip
    with pytest.raises(Invalid, match=f"holds no {name} model that can be read"):
        formats.load(name, tmp_path, "binary")
    for file in files[name]:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(Invalid, match=f"holds no {name} model that can be read"):
        formats.load(name, tmp_path, "binary")
