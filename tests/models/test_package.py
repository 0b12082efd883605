from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import model_cases
import numpy as np
import pyarrow as pa
import pytest

from fivefold.core.errors import Invalid, Unsupported
from fivefold.models.package import load

ASKED = model_cases.rows(200, seed=4)
PROGRAM = Path(model_cases.__file__)


def elsewhere(what: str, folder: Path, hash_seed: str) -> subprocess.CompletedProcess[str]:
    """The cases in a process of their own, with another order of sets."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(PROGRAM.parent)}
    command = [sys.executable, "-W", "ignore", str(PROGRAM), what, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def answers(packages: dict[str, model_cases.Built]) -> dict[str, np.ndarray]:
    """What every package answers after it was loaded in a process that has not trained it."""
    folder = packages["logistic-binary"].folder.parent
    elsewhere("answer", folder, "11")
    with np.load(folder / "answers.npz") as found:
        return dict(found)


@pytest.mark.parametrize("name", model_cases.CASES)
def test_a_package_loaded_in_another_process_answers_with_the_declared_predictors_bits(
    packages: dict[str, model_cases.Built], answers: dict[str, np.ndarray], name: str
) -> None:
    built = packages[name]
    here = built.package.predictor.predict(built.encoding.matrix(ASKED))
    assert answers[name].dtype == here.dtype == np.float64
    assert np.array_equal(answers[name], here)


@pytest.mark.parametrize("name", model_cases.CASES)
def test_answers_are_within_the_declared_tolerance_of_the_training_library(
    packages: dict[str, model_cases.Built], answers: dict[str, np.ndarray], name: str
) -> None:
    built = packages[name]
    truth = built.fitted.predict(built.encoding.matrix(ASKED))
    assert truth.shape == answers[name].shape
    assert np.abs(answers[name] - truth).max() <= 1e-5
    declared = json.loads((built.folder / "fivefold.json").read_bytes())
    assert declared["deviation"] == built.package.record["deviation"] <= 1e-5


@pytest.mark.parametrize("hash_seed", ["4711", pytest.param("0", marks=pytest.mark.long)])
def test_the_same_inputs_give_the_same_package_in_any_process(
    packages: dict[str, model_cases.Built], tmp_path: Path, hash_seed: str
) -> None:
    there = json.loads(elsewhere("build", tmp_path, hash_seed).stdout)
    here = {name: model_cases.digest_of(built.folder) for name, built in packages.items()}
    assert {n for n in here if here[n] != there[n]} == set()
    assert len(set(here.values())) == len(here)


@pytest.mark.parametrize("name", ["lightgbm-binary", "xgboost-binary", "torch-binary", "forest-binary"])
def test_two_threads_give_the_same_package_each_time(tmp_path: Path, name: str) -> None:
    case = model_cases.CASES[name]
    one, two = (model_cases.build(case, tmp_path / str(i), threads=2).folder for i in range(2))
    assert model_cases.digest_of(one) == model_cases.digest_of(two)


@pytest.mark.parametrize("name", model_cases.CASES)
def test_a_row_of_values_gets_the_bits_of_the_table(packages: dict[str, model_cases.Built], name: str) -> None:
    loaded = load(packages[name].folder, trust_pickle=True)
    table = ASKED.slice(0, 12).select(loaded.encoding.names)
    whole = loaded.predict(table)
    for i, row in enumerate(table.to_pylist()):
        assert np.array_equal(loaded.predict_row(list(row.values())), whole[i : i + 1])


@pytest.mark.parametrize("name", model_cases.CASES)
def test_an_empty_table_gets_no_predictions_and_nulls_and_unseen_texts_get_one_each(
    packages: dict[str, model_cases.Built], name: str
) -> None:
    loaded = load(packages[name].folder, trust_pickle=True)
    assert len(loaded.predict(ASKED.slice(0, 0))) == 0
    odd = pa.table(
        {
            "a": pa.array([None, 1.0], pa.float64()),
            "b": pa.array([None, 2**53], pa.int64()),
            "flag": pa.array([None, True]),
            "c": pa.array([None, -1.0], pa.float64()),
            "kind": pa.array([None, "never seen"]),
        }
    )
    found = loaded.predict(odd)
    assert len(found) == 2
    assert np.isfinite(found).all()
    assert found.shape[1:] == ((3,) if name.endswith("multiclass") else ())


def test_columns_are_found_by_name_and_others_are_ignored(packages: dict[str, model_cases.Built]) -> None:
    loaded = load(packages["logistic-binary"].folder)
    turned = ASKED.select(ASKED.column_names[::-1]).append_column("other", pa.nulls(ASKED.num_rows))
    assert np.array_equal(loaded.predict(turned), loaded.predict(ASKED))


def test_a_package_says_what_it_holds(packages: dict[str, model_cases.Built]) -> None:
    loaded = load(packages["lightgbm-multiclass"].folder)
    assert loaded.about.name == "late"
    assert loaded.about.task == "multiclass"
    assert loaded.about.classes == ["early", "mid", "late"]
    assert [f.name for f in loaded.about.features] == list(model_cases.NUMBERS)
    assert set(loaded.example) == set(model_cases.NUMBERS)


def test_an_example_with_values_that_json_lacks_can_be_read_again(tmp_path: Path) -> None:
    table = model_cases.rows(300, seed=1)
    values = table["c"].to_pylist()
    values[:3] = [float("nan"), None, 1.0]
    table = table.set_column(3, "c", pa.array(values, pa.float64()))
    built = model_cases.build(model_cases.CASES["lightgbm-binary"], tmp_path / "p", table=table)
    assert load(built.folder).example["c"] is None


def test_a_pickle_is_loaded_only_when_it_is_trusted(packages: dict[str, model_cases.Built]) -> None:
    with pytest.raises(Unsupported, match=r"stored as a pickle.*declare Model\(trust_pickle=True\)"):
        load(packages["object-binary"].folder)


def test_no_predictor_within_the_tolerance_is_refused_with_the_figures(tmp_path: Path) -> None:
    case = model_cases.CASES["torch-binary"]
    with pytest.raises(Invalid, match=r"torch: deviates by .* more than the tolerance of -1.*Raise tolerance="):
        model_cases.build(case, tmp_path / "p", tolerance=-1.0)
