from __future__ import annotations

import random

import pytest

from fivefold.realtime.batching.gradient import LEAST, Gradient
from fivefold.realtime.batching.latency import COLD, Fit


def test_the_fit_finds_what_calls_cost_and_is_not_misled_by_a_few_slow_ones() -> None:
    made, fit = random.Random(1), Fit()
    for i in range(1000):
        rows = made.randint(1, 60)
        fit.add(rows, int(1000 * rows + 50_000 + made.uniform(0, 500) + (5_000_000 if i % 50 == 0 else 0)))
    assert fit.each == pytest.approx(1000, rel=0.05)
    assert fit.once == pytest.approx(50_000, rel=0.05)
    assert fit.late(1) > fit.usual(1)


def test_it_follows_a_machine_that_becomes_slower() -> None:
    fit = Fit()
    for i in range(2000):
        fit.add(1 + i % 9, (1 + i % 9) * (1000 if i < 1000 else 3000))
    assert fit.each == pytest.approx(3000, rel=0.02)


def test_cold_calls_and_clocks_that_go_back_are_not_believed() -> None:
    fit = Fit()
    for _ in range(COLD):
        fit.add(1, 10**9)
    fit.add(1, 100)
    fit.add(1, -5)
    assert fit.usual(10) == 1000, "one size alone is taken to be proportional"
    assert not fit.known


def test_the_limit_of_concurrency_grows_while_latency_holds_and_shrinks_when_it_does_not() -> None:
    gradient = Gradient()
    for _ in range(1000):
        gradient.add(1000)
    grown = gradient.limit
    assert grown > 64
    for _ in range(1000):
        gradient.add(20_000)
    assert LEAST <= gradient.limit < grown / 4
