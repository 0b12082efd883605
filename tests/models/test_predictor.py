from __future__ import annotations

import model_cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.models.predictor import Predictor, alone, transparent

ROWS = model_cases.rows(400, seed=9)
X = np.random.default_rng(0).normal(size=(50, 3))
batches = st.lists(st.integers(0, 399), min_size=1, max_size=70)


@pytest.mark.parametrize("name", model_cases.CASES)
@given(batches)
@settings(max_examples=10, deadline=None)
def test_a_row_gets_the_same_bits_in_any_batch(
    packages: dict[str, model_cases.Built], name: str, places: list[int]
) -> None:
    built = packages[name]
    x = built.encoding.matrix(ROWS)
    predictor = built.package.predictor
    together = predictor.predict(x[places])
    one = places[len(places) // 2]
    assert np.array_equal(predictor.predict(x[one : one + 1])[0], together[len(places) // 2])
    assert np.array_equal(predictor.predict(x[places[::-1]]), together[::-1])
    cut = len(places) // 3
    assert np.array_equal(np.concatenate([predictor.predict(x[p]) for p in (places[:cut], places[cut:])]), together)


@pytest.mark.parametrize("name", [n for n in model_cases.CASES if not n.startswith("object")])
def test_a_row_gets_the_same_bits_in_a_large_batch_and_from_other_memory(
    packages: dict[str, model_cases.Built], name: str
) -> None:
    predictor = packages[name].package.predictor
    x = packages[name].encoding.matrix(ROWS)
    many = np.tile(x, (11, 1))[:-3]
    single = np.concatenate([predictor.predict(x[i : i + 1]) for i in range(len(x))])
    assert np.array_equal(predictor.predict(many), single[np.arange(len(many)) % len(x)])
    assert np.array_equal(predictor.predict(np.asfortranarray(x)), single)
    assert np.array_equal(predictor.predict(np.repeat(x, 2, axis=0)[::2]), single)
    shifted = np.empty(x.size + 1)[1:].reshape(x.shape)
    shifted[:] = x
    assert np.array_equal(predictor.predict(shifted), single)


@pytest.mark.parametrize("name", model_cases.CASES)
def test_no_rows_get_no_predictions_of_the_right_width(packages: dict[str, model_cases.Built], name: str) -> None:
    built = packages[name]
    found = built.package.predictor.predict(np.empty((0, len(built.encoding.names))))
    assert found.shape == ((0, 3) if name.endswith("multiclass") else (0,))
    assert found.dtype == np.float64


@pytest.mark.parametrize("name", model_cases.CASES)
def test_probabilities_are_probabilities_also_for_huge_values_and_nothing_but_nulls(
    packages: dict[str, model_cases.Built], name: str
) -> None:
    built = packages[name]
    width = len(built.encoding.names)
    odd = np.array([[np.nan] * width, [1e300] * width, [-1e300] * width, [0.0] * width, [-0.0] * width])
    numbers = [i for i, n in enumerate(built.encoding.names) if n != "kind"]
    kept = odd.copy()
    kept[:, [i for i in range(width) if i not in numbers]] = np.nan
    if built.package.predictor.format == "skops" or "linear-" in name:
        kept = np.clip(kept, -1e30, 1e30)  # scikit-learn refuses what a float32 does not hold
    found = built.package.predictor.predict(kept)
    assert not np.isnan(found).any()
    if not name.endswith(("regression", "ranking")):
        assert ((found >= 0) & (found <= 1)).all()
    if name.endswith("multiclass"):
        assert np.allclose(found.sum(axis=1), 1)


def test_a_batch_dependent_model_is_found_out_and_asked_row_by_row() -> None:
    def centred(x: np.ndarray) -> np.ndarray:
        return x[:, 0] - x[:, 0].mean()

    assert not transparent(centred, X)
    predictor = Predictor("linear", True, centred)
    assert np.array_equal(predictor.predict(X), np.zeros(50))


def test_a_model_that_differs_only_in_large_batches_is_found_out() -> None:
    def careless(x: np.ndarray) -> np.ndarray:
        return x[:, 0] + (1e-16 * len(x) if len(x) > 2000 else 0)

    assert not transparent(lambda x: careless(x * 1e-3), X)
    assert transparent(lambda x: x[:, 0] * 2, X)


def test_another_number_of_rows_is_refused_on_both_ways() -> None:
    for rowwise in (True, False):
        with pytest.raises(Invalid, match=r"predictions of the shape \(1?00,\) for 50 rows"):
            Predictor("linear", rowwise, lambda x: np.repeat(x[:, 0], 2)).predict(X)


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(Invalid, match=r"shape \(50, 3\) for 50 rows and 2 classes"):
        Predictor("linear", False, lambda x: x, 2).predict(X)


def test_alone_asks_each_row_by_itself() -> None:
    sizes = []

    def call(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x[:, 0]

    assert np.array_equal(alone(call, X), X[:, 0])
    assert set(sizes) == {1}
