from __future__ import annotations

import pytest

from fivefold.core.errors import Invalid
from fivefold.realtime.batching.rates import MOST_KEYS, Rates, rate

SECOND = 1_000_000_000


def test_each_caller_has_a_bucket_of_its_own_that_fills_with_time() -> None:
    rates = Rates(2.0, 2)
    assert [rates.take(b"a", 0) for _ in range(3)] == [0, 0, 500]
    assert rates.take(b"b", 0) == 0
    assert rates.take(b"a", SECOND // 2) == 0
    assert rates.take(b"a", 0) > 0, "a clock set back adds nothing"


def test_callers_that_are_remembered_are_bounded() -> None:
    rates = Rates(1.0, 1)
    for i in range(MOST_KEYS + 10):
        rates.take(str(i).encode(), 0)
    assert len(rates._buckets) == MOST_KEYS


@pytest.mark.parametrize(("text", "each", "most"), [("100/s", 100, 100), ("600/m", 10, 10), ("1/h", 1 / 3600, 1), ("5/s+2", 5, 2)])
def test_a_rate_is_read(text: str, each: float, most: int) -> None:
    assert rate(text) == (pytest.approx(each), most)


@pytest.mark.parametrize("text", ["", "5", "5/d", "-1/s", "0/s", "5/s+x", "1.5/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="is not a rate"):
        rate(text)
