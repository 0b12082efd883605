"""The sketches' promises: the accuracy of a bucket, its order, and the estimate of a set."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.types import Type
from fivefold.features.kernel import sketch
from fivefold.features.kernel.columns import column

FLOATS = st.floats(allow_nan=False)


def middle(*numbers: float) -> list[float]:
    found: list[float] = sketch.bucket_middle(sketch.bucket(np.array(numbers))).tolist()
    return found


@given(FLOATS)
def test_a_value_stands_within_one_percent_of_every_normal_number(x: float) -> None:
    [found] = middle(x)
    if abs(x) >= 2.0**-1022 and abs(x) != float("inf"):
        assert abs(found - x) <= abs(x) / 128
        assert (found > 0) == (x > 0)
    else:
        assert found == (x if abs(x) > 1 else 0.0)


@given(FLOATS)
def test_a_value_is_the_oracles(oracle: SimpleNamespace, x: float) -> None:
    assert middle(x) == [oracle.middle(x)]


@given(FLOATS, FLOATS)
def test_buckets_keep_the_order_of_numbers(x: float, y: float) -> None:
    low, high = sketch.bucket(np.array([min(x, y), max(x, y)]))
    assert low <= high


def test_the_middle_of_a_bucket_lies_in_that_bucket() -> None:
    buckets = np.concatenate([np.arange(64, 2047 * 64), -np.arange(64, 2047 * 64), [0]])
    assert np.array_equal(sketch.bucket(sketch.bucket_middle(buckets)), buckets)


def test_estimates_are_within_five_percent_from_few_to_millions() -> None:
    for size in (10, 1000, 5000, 20_000, 1_000_000):
        registers = np.zeros(4096, np.int64)
        register, rank = sketch.register_and_rank(sketch.mix(np.arange(size, dtype=np.uint64)))
        np.maximum.at(registers, register, rank)
        found = sketch.estimate(np.bincount(registers, minlength=54)[:, None]).item()
        assert abs(found / size - 1) < 0.05


def test_equal_texts_hash_alike_whatever_dictionary_they_stand_in() -> None:
    first = column(pa.array(["a", "b", "a", "é"]), Type.STRING)
    second = column(pa.array(["é", "x", "a"]), Type.STRING)
    a, _, again, e = sketch.hashes(first)
    assert a == again
    assert [e, a] == [sketch.hashes(second)[0], sketch.hashes(second)[2]]
