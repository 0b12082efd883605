"""128-bit sums and their doubles against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.features.kernel import wide

INT64 = st.integers(-(2**63), 2**63 - 1)
INT128 = st.one_of(
    st.integers(-(2**127) + 1, 2**127 - 1),
    INT64,
    # halfway between doubles, and one beside it: where rounding goes wrong
    st.builds(
        lambda m, e, d: ((2 * m + 1) << e) + d, st.integers(2**52, 2**53 - 1), st.integers(1, 70), st.integers(-1, 1)
    ),
)


def make(*numbers: int) -> wide.Wide:
    low = [n % 2**64 for n in numbers]
    return wide.Wide(np.array([n >> 64 for n in numbers], np.int64), np.array(low, np.uint64))


def back(numbers: wide.Wide) -> list[int]:
    return [(int(h) << 64) + int(low) for h, low in zip(numbers.high, numbers.low, strict=True)]


@given(st.lists(INT128, min_size=1, max_size=5))
def test_the_double_is_the_nearest_alone_and_among_others(numbers: list[int]) -> None:
    assert wide.to_float(make(*numbers)).tolist() == [float(n) for n in numbers]
    assert [wide.to_float(make(n)).item() for n in numbers] == [float(n) for n in numbers]


@given(st.integers(-(2**126), 2**126), st.integers(-(2**126), 2**126 - 1))
def test_adding_carries(a: int, b: int) -> None:
    assert back(wide.add(make(a), make(b))) == [a + b]


@given(st.integers(-(2**40) + 1, 2**40 - 1))
def test_squares_are_exact(number: int) -> None:
    assert back(wide.square(np.array([number]))) == [number * number]


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**60))
def test_sums_of_digits_are_put_together(d0: int, d1: int, d2: int) -> None:
    arrays = (np.array([d], np.uint64) for d in (d0, d1, d2))
    assert back(wide.from_digits(*arrays)) == [d0 + (d1 << 32) + (d2 << 64)]


@given(INT64, INT64)
def test_halves_are_put_together(high: int, low: int) -> None:
    assert back(wide.from_halves(np.array([high]), np.array([low]))) == [(high << 32) + low]


@given(INT128)
def test_narrow_says_what_fits(number: int) -> None:
    value, fits = wide.narrow(make(number))
    assert fits.item() == (-(2**63) <= number < 2**63)
    if fits.item():
        assert value.item() == number


@given(st.lists(st.integers(-(2**40) + 1, 2**40 - 1), min_size=1, max_size=30), st.integers(1, 2**26))
def test_the_spread_is_the_nearest_double_of_the_exact_integer(numbers: list[int], times: int) -> None:
    n, s1, s2 = len(numbers) * times, sum(numbers) * times, sum(i * i for i in numbers) * times
    assert wide.spread(np.array([n]), make(s1), make(s2)).item() == float(n * s2 - s1 * s1)


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_single_arrays_keep_their_shape(size: int) -> None:
    zeros = make(*[0] * size)
    assert wide.to_float(zeros).shape == (size,)
    assert wide.spread(np.zeros(size, np.int64), zeros, zeros).tolist() == [0.0] * size
