from __future__ import annotations

import math

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.types import Type
from fivefold.models.encode import Encoding, fit_encoding

TYPES = {"n": Type.INT64, "x": Type.FLOAT64, "f": Type.BOOL, "s": Type.STRING}
ARROW = {"n": pa.int64(), "x": pa.float64(), "f": pa.bool_(), "s": pa.string()}
ENCODING = Encoding(tuple(TYPES), tuple(TYPES.values()), {"s": ("", "a", "b", "ü")})
rows = st.tuples(
    st.none() | st.integers(-(2**53), 2**53),
    st.none() | st.floats(allow_nan=True, allow_infinity=True),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["", "a", "b", "ü", "unseen"]),
)


def table(values: list[tuple[object, ...]]) -> pa.Table:
    return pa.table({n: pa.array([v[i] for v in values], ARROW[n]) for i, n in enumerate(TYPES)})


@given(st.lists(rows, max_size=8))
@settings(deadline=None)
def test_a_row_has_the_bits_of_the_matrix(values: list[tuple[object, ...]]) -> None:
    matrix = ENCODING.matrix(table(values))
    assert matrix.shape == (len(values), 4)
    assert matrix.flags.c_contiguous
    for i, value in enumerate(values):
        row = ENCODING.row(value)
        assert row.shape == (1, 4)
        same = row.view(np.uint64) == matrix[i : i + 1].view(np.uint64)
        assert (same | (np.isnan(row) & np.isnan(matrix[i : i + 1]))).all()


@given(st.lists(rows, min_size=1, max_size=8))
@settings(deadline=None)
def test_a_copy_that_was_stored_encodes_the_same(values: list[tuple[object, ...]]) -> None:
    ENCODING.row(values[0])
    stored = msgspec.json.decode(msgspec.json.encode(ENCODING), type=Encoding)
    assert stored == ENCODING
    assert np.array_equal(stored.matrix(table(values)), ENCODING.matrix(table(values)), equal_nan=True)
    assert np.array_equal(stored.row(values[0]), ENCODING.row(values[0]), equal_nan=True)


def test_null_and_unseen_texts_are_no_number() -> None:
    assert np.isnan(ENCODING.row([None, None, None, None])).all()
    assert math.isnan(ENCODING.row([1, 1.0, True, "unseen"])[0, 3])


def test_categories_are_those_of_the_training_rows_sorted() -> None:
    given_rows = pa.table({"s": pa.array(["b", None, "a", "b"]), "t": pa.array([None, None, None, None], pa.string())})
    made = fit_encoding(given_rows, ["s", "t"], {"s": Type.STRING, "t": Type.STRING})
    assert made.categories == {"s": ("a", "b"), "t": ()}
    assert made.categorical == [0, 1]
    assert np.array_equal(made.row(["b", "x"]), [[1.0, np.nan]], equal_nan=True)


def test_dictionaries_large_strings_and_chunks_are_read_alike() -> None:
    plain = table([(1, 1.0, True, "a"), (2, None, None, "b"), (3, 0.5, False, None)])
    dressed = plain.set_column(3, "s", plain["s"].dictionary_encode())
    large = plain.set_column(3, "s", plain["s"].cast(pa.large_string()))
    pieces = pa.concat_tables([plain.slice(0, 1), plain.slice(1)])
    for other in (dressed, large, pieces):
        assert np.array_equal(ENCODING.matrix(other), ENCODING.matrix(plain), equal_nan=True)


def test_numbers_of_numpy_are_taken() -> None:
    assert ENCODING.row([np.int64(3), np.float32(0.5), np.bool_(True), "a"]).tolist() == [[3.0, 0.5, 1.0, 1.0]]


def test_an_integer_that_a_float_does_not_hold_is_refused_on_both_ways() -> None:
    big = 2**53 + 1
    for given_row in ([(big, 0.0, True, "a")], [(-big, 0.0, True, "a")]):
        with pytest.raises(Invalid, match=r"the feature 'n' is -?9007199254740993, beyond 2\*\*53"):
            ENCODING.matrix(table(given_row))
        with pytest.raises(Invalid, match=r"the feature 'n' is -?9007199254740993, beyond 2\*\*53"):
            ENCODING.row(given_row[0])


def test_a_value_of_another_type_is_refused_on_both_ways() -> None:
    with pytest.raises(Invalid, match="the feature 'x' is 'fast', but the model takes a float64"):
        ENCODING.row([1, "fast", True, "a"])
    with pytest.raises(Invalid, match="the feature 's' is 5, but the model takes a string"):
        ENCODING.row([1, 1.0, True, 5])
    with pytest.raises(Invalid, match="the feature 's' is a column of int64, but the model takes a string"):
        ENCODING.matrix(table([(1, 1.0, True, "a")]).set_column(3, "s", pa.array([5])))
    with pytest.raises(Invalid, match="the feature 'x' is a column of string"):
        ENCODING.matrix(table([(1, 1.0, True, "a")]).set_column(1, "x", pa.array(["1.5"])))


def test_missing_columns_and_values_are_named() -> None:
    with pytest.raises(NotFound, match="no feature 'x'"):
        ENCODING.matrix(table([(1, 1.0, True, "a")]).drop(["x"]))
    with pytest.raises(Invalid, match="the row has 3 values, the model 4 features"):
        ENCODING.row([1, 1.0, True])


def test_a_timestamp_is_no_feature() -> None:
    with pytest.raises(Invalid, match="the feature 'at' is a timestamp"):
        fit_encoding(pa.table({"at": pa.array([1])}), ["at"], {"at": Type.TIMESTAMP})
