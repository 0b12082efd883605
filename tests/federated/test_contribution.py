from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid, NotFound
from fivefold.federated.contribution import GRAIN, Layout, Terms, cut, cut_rows, layout_of, sent_layout

SHAPES = st.dictionaries(st.text("abc.", min_size=1, max_size=4), st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(SHAPES, st.integers(0, 2**32))
def test_arrays_come_back_as_they_were(shapes, seed: int) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    arrays = {name: random.normal(size=shape) for name, shape in shapes.items()}
    layout = layout_of(arrays)
    flat = layout.flatten(arrays)
    assert flat.shape == (layout.size,)
    assert flat.dtype == np.float64
    back = layout.unflatten(flat)
    assert list(back) == list(arrays)
    assert all(np.array_equal(back[n], a) and back[n].shape == a.shape for n, a in arrays.items())


def test_a_contribution_has_a_weight_a_loss_and_what_was_clipped() -> None:
    layout = sent_layout(update=3)
    assert layout.names == ("update", "weight", "loss", "clipped")
    assert layout.size == 6


@pytest.mark.parametrize(("arrays", "error", "message"), [
    ({"a": np.zeros(2)}, NotFound, "no array 'b'"),
    ({"a": np.zeros(2), "b": np.zeros(()), "bb": np.zeros(1)}, NotFound, "no array 'bb'"),
    ({"a": np.zeros((2, 1)), "b": np.zeros(())}, Invalid, "'a' has the shape \\(2, 1\\)")])
def test_what_does_not_fit_is_refused(arrays, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    layout = Layout(("a", "b"), ((2,), ()))
    with pytest.raises(error, match=message):
        layout.flatten(arrays)


def test_a_vector_of_another_length_is_refused() -> None:
    with pytest.raises(Invalid, match=r"shape \(4,\)"):
        sent_layout(update=3).unflatten(np.zeros(4))


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_weight_is_a_multiple_of_its_grain(rows: int, more: int) -> None:
    weight = Terms(total=rows + more).weight(rows)
    assert weight / GRAIN == int(weight / GRAIN)
    assert abs(weight - rows / (rows + more)) <= GRAIN / 2
    assert Terms(equal=True).weight(rows) == 1.0


def test_a_cut_vector_has_the_length_and_its_direction() -> None:
    short, taken = cut(np.array([3.0, 4.0]), 1.0)
    assert taken
    assert np.allclose(short, [0.6, 0.8])
    same, taken = cut(np.array([3.0, 4.0]), 5.0)
    assert not taken
    assert same.tolist() == [3.0, 4.0]


def test_rows_are_cut_one_by_one() -> None:
    rows = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    total, many = cut_rows(rows, 1.0)
    assert many == 1
    assert np.allclose(total, [0.9, 1.2])
