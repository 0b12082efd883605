from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fivefold.realtime.batching.isolate import OutOfCalls, Systematic, isolate


class Model:
    def __init__(self, bad: set[int]) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, start: int, stop: int) -> list[Any]:
        self.calls += 1
        if self.bad & set(range(start, stop)):
            raise ValueError("poison")
        return list(range(start, stop))


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=4))
def test_only_bad_rows_fail_and_each_costs_two_calls_a_halving_at_most(count: int, bad: set[int]) -> None:
    bad = {b for b in bad if b < count}
    model = Model(bad)
    found = isolate(model, count)
    assert {i for i, (_, e) in enumerate(found) if e is not None} == bad
    assert all(value == i for i, (value, e) in enumerate(found) if e is None)
    assert model.calls <= 1 + len(bad) * 2 * math.ceil(math.log2(count) if count > 1 else 0)


def test_a_merged_batch_of_nothing_but_bad_rows_is_told_apart() -> None:
    found = isolate(Model(set(range(256))), 256)
    assert all(isinstance(e, ValueError) for _, e in found)


def test_calls_are_bounded() -> None:
    model = Model(set(range(0, 10_000, 2)))
    found = isolate(model, 10_000, 100)
    assert model.calls == 100
    assert any(isinstance(e, OutOfCalls) for _, e in found)


def test_another_number_of_predictions_than_rows_fails_all_and_is_not_asked_again() -> None:
    calls = []

    def short(start: int, stop: int) -> list[Any]:
        calls.append(stop)
        return [0.0] * (stop - start - 1)

    assert all(isinstance(e, Systematic) for _, e in isolate(short, 8))
    assert calls == [8]
