"""One row by the C API has the bits that LightGBM's own predict gives, alone and from many threads."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from fivefold.models.formats.lightgbm import predictor

RANDOM = np.random.default_rng(7)
X = np.where(RANDOM.random((400, 6)) < 0.1, np.nan, RANDOM.normal(size=(400, 6)))
X[:, 5] = RANDOM.integers(0, 4, 400)
OBJECTIVES = {
    "regression": (np.nan_to_num(X[:, 0]) + RANDOM.normal(size=400), {}),
    "binary": ((np.nan_to_num(X[:, 1]) > 0).astype(float), {}),
    "multiclass": (RANDOM.integers(0, 3, 400).astype(float), {"num_class": 3}),
}


def booster(objective: str) -> Any:
    y, more = OBJECTIVES[objective]
    params = {"objective": objective, "verbosity": -1, "num_leaves": 15, "num_threads": 1, **more}
    trained = lgb.train(params, lgb.Dataset(X, y, categorical_feature=[5]), 30)
    return lgb.Booster(model_str=trained.model_to_string())


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_row_alone_has_the_bits_of_the_library(objective: str) -> None:
    made = booster(objective)
    call, whole = predictor(made), made.predict(X, num_threads=1)
    rows = np.concatenate([call(X[i : i + 1]) for i in range(len(X))])
    assert rows.shape == whole.shape
    assert rows.tobytes() == whole.tobytes()
    for size in (2, 7, 16, 17, 400):
        assert call(X[:size].copy()).tobytes() == whole[:size].tobytes()
    assert call(np.asfortranarray(X)[3:4]).tobytes() == whole[3:4].tobytes()


def test_many_threads_do_not_disturb_each_other() -> None:
    made = booster("multiclass")
    call, whole = predictor(made), made.predict(X, num_threads=1)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: call(X[i % 400 : i % 400 + 1]), range(4000)))
    assert all(f.tobytes() == whole[i % 400 : i % 400 + 1].tobytes() for i, f in enumerate(found))


def test_a_predictor_outlives_the_name_of_its_booster_and_many_come_and_go() -> None:
    whole = booster("binary").predict(X[:1])
    for _ in range(20):
        call = predictor(booster("binary"))
        gc.collect()
        assert call(X[:1]).tobytes() == whole.tobytes()


def test_a_row_of_another_width_is_refused_as_the_library_does() -> None:
    with pytest.raises(lgb.basic.LightGBMError, match="number of features"):
        predictor(booster("regression"))(X[:1, :4].copy())
