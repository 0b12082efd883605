"""Fixed-point sums: exact whatever the length of the window, on every path."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel import finish, wide
from fivefold.features.kernel.arrays import Span
from fivefold.features.kernel.columns import column
from fivefold.features.kernel.fixed import LIMIT, fixed, sums, sums_of_squares

EDGE = 2.0**40


def test_numbers_are_rounded_to_even_at_their_scale() -> None:
    given_ = column(pa.array([0.5, 1.5, -0.5, 0.3, EDGE - 1]), Type.FLOAT64)
    assert fixed(given_, 0, "x").tolist() == [0, 2, 0, 0, LIMIT - 1]
    assert fixed(column(pa.array([0.3, 5e-324]), Type.FLOAT64), 10, "x").tolist() == [307, 0]


@pytest.mark.parametrize("value", [EDGE, -EDGE, EDGE - 0.5, 1e308, float("inf"), float("-inf")])
def test_from_two_to_the_forty_on_a_value_is_out_of_range(value: float) -> None:
    with pytest.raises(Invalid, match=r"where: value .* at scale 0 is out of range"):
        fixed(column(pa.array([1.0, value]), Type.FLOAT64), 0, "where")
    with pytest.raises(Invalid, match="at scale 900"):
        fixed(column(pa.array([value]), Type.FLOAT64), 900, "where")


def test_sums_beyond_int64_stay_exact() -> None:
    # 9 million rows of the largest value: the sum needs 64 bits, the sum of squares 103
    rows = 9_000_000
    numbers = np.full(rows, LIMIT - 1)
    numbers[::3] = 1 - LIMIT
    span = Span(np.array([0, 1, 5]), np.array([rows, 1, 9]))
    span_up = Span(np.array([0]), np.array([rows]))
    assert back(sums(np.abs(numbers), span_up)) == [rows * (LIMIT - 1)]
    assert rows * (LIMIT - 1) >= 2**63
    assert back(sums(numbers, span)) == [(LIMIT - 1) * rows // 3, 0, 2 * (LIMIT - 1)]
    assert back(sums_of_squares(numbers, span)) == [rows * (LIMIT - 1) ** 2, 0, 4 * (LIMIT - 1) ** 2]
    deviation = finish.std(span_up.size, sums(np.abs(numbers), span_up), sums_of_squares(numbers, span_up), 0)
    assert deviation.values.item() == 0.0


def back(numbers: wide.Wide) -> list[int]:
    return [(int(h) << 64) + int(low) for h, low in zip(numbers.high, numbers.low, strict=True)]


@given(st.lists(st.integers(-LIMIT + 1, LIMIT - 1), min_size=1, max_size=50))
def test_sums_of_every_range_are_pythons(numbers: list[int]) -> None:
    lo, hi = np.array([(i, j) for i in range(len(numbers)) for j in range(i, len(numbers) + 1)]).T
    span, array = Span(lo, hi), np.array(numbers)
    cuts = [numbers[i:j] for i, j in zip(lo, hi, strict=True)]
    assert back(sums(array, span)) == [sum(c) for c in cuts]
    assert back(sums_of_squares(array, span)) == [sum(i * i for i in c) for c in cuts]
