from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fivefold.core.errors import Invalid
from fivefold.models import formats
from fivefold.models.formats.linear import Columns, Linear, linear_predictor, sigmoid
from fivefold.models.learners.logistic import describe

MODEL = Linear(
    Columns((0.5, 0.0, -2.0), (1.5, 1.0, 3.0), (True, False, False), (-1, 3, -1)),
    (0.3, -1.25, 0.7, 0.1, -0.2, 0.9, 2.5),
    "binary",
)


def by_hand(row: np.ndarray) -> float:
    """The score of one row, term by term in Python floats."""
    a, kind, c = (float(v) for v in row)
    terms = [0.3]
    terms.append(-1.25 * ((0.5 if np.isnan(a) else a) - 0.5) / 1.5 if np.isnan(a) else ((a - 0.5) / 1.5) * -1.25)
    terms.append(0.7 * float(np.isnan(a)))
    terms += [w * float(kind == level) for level, w in enumerate((0.1, -0.2, 0.9))]
    terms.append(((-2.0 if np.isnan(c) else c) + 2.0) / 3.0 * 2.5)
    total = 0.0
    for term in terms:
        total += term
    return total


@given(
    arrays(float, (5, 1), elements=st.floats(-1e6, 1e6) | st.just(float("nan"))),
    arrays(float, (5, 1), elements=st.sampled_from([0.0, 1.0, 2.0, float("nan")])),
    arrays(float, (5, 1), elements=st.floats(-1e6, 1e6) | st.just(float("nan"))),
)
@settings(deadline=None)
def test_a_score_is_the_sum_from_left_to_right(a: np.ndarray, kind: np.ndarray, c: np.ndarray) -> None:
    x = np.hstack([a, kind, c])
    number = Linear(MODEL.columns, MODEL.weights, "regression")
    assert linear_predictor(number)(x).tolist() == [by_hand(row) for row in x]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_exp_has_the_same_bits_alone_and_in_any_batch_and_memory(step: int) -> None:
    score = np.random.default_rng(step).normal(size=3000) * 20
    single = np.array([sigmoid(score[i : i + 1])[0] for i in range(len(score))])
    assert np.array_equal(sigmoid(score), single)
    spread = np.repeat(score, step)[::step]
    assert np.array_equal(linear_of(spread), linear_of(score))
    for size in (*range(2, 20), 63, 64, 65, 1000):
        assert np.array_equal(np.concatenate([sigmoid(score[i : i + size]) for i in range(0, 3000, size)]), single)
        shifted = np.empty(size + 1)[1:]
        shifted[:] = score[:size]
        assert np.array_equal(sigmoid(shifted), single[:size])


def linear_of(score: np.ndarray) -> np.ndarray:
    return linear_predictor(Linear(Columns((0.0,), (1.0,), (False,), (-1,)), (0.0, 1.0), "binary"))(score[:, None])


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(np.array([-1e4, -800.0, 0.0, 800.0, 1e4])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_huge_values_give_numbers() -> None:
    columns = describe(np.array([[1e308, 1.0], [-1e308, 2.0], [1e300, np.nan]]), ())
    assert np.isfinite(columns.scales).all()
    found = linear_predictor(Linear(columns, (0.0, 5.0, -3.0, 1.0), "binary"))(
        np.array([[1e308, np.inf], [-np.inf, 1e308], [5e-324, -1e308]])
    )
    assert ((found >= 0) & (found <= 1)).all()


def test_a_constant_and_an_empty_column_add_nothing() -> None:
    columns = describe(np.array([[7.0, np.nan], [7.0, np.nan]]), ())
    assert columns.design(np.array([[7.0, np.nan]])).tolist() == [[1.0, 0.0, 0.0, 1.0]]
    assert columns.width == 4


def test_a_column_of_categories_without_any_has_no_weight() -> None:
    columns = describe(np.array([[np.nan], [np.nan]]), (0,))
    assert columns.levels == (0,)
    assert columns.design(np.array([[np.nan], [2.0]])).tolist() == [[1.0], [1.0]]


def test_a_stored_model_is_the_same_and_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    formats.save("linear", MODEL, tmp_path, "binary")
    x = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan]])
    assert np.array_equal(formats.load("linear", tmp_path, "binary")(x), linear_predictor(MODEL)(x))
    for wrong in (
        Linear(MODEL.columns, MODEL.weights[1:], "binary"),
        Linear(Columns((0.0,), (1.0, 2.0), (False,), (-1,)), (0.0, 1.0), "binary"),
    ):
        formats.save("linear", wrong, tmp_path, "binary")
        with pytest.raises(Invalid, match="weights for"):
            formats.load("linear", tmp_path, "binary")
