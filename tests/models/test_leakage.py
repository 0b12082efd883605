from __future__ import annotations

import numpy as np

from fivefold.models.leakage import giveaways
from fivefold.models.tasks import Task

random = np.random.default_rng(0)
Y = (random.random(500) < 0.3).astype(float)
NOISE = random.normal(size=500)


def test_a_feature_that_is_the_label_is_named_and_others_are_not() -> None:
    x = np.column_stack([NOISE, Y, 1 - Y, Y + NOISE])
    warnings = giveaways(Task("binary"), ["noise", "label", "negated", "hint"], x, Y)
    assert [w.split("'")[1] for w in warnings] == ["label", "negated"]


def test_a_line_through_a_number_gives_it_away() -> None:
    x = np.column_stack([3 - 2 * NOISE, NOISE**2, np.full(500, 7.0)])
    warnings = giveaways(Task("regression"), ["line", "square", "constant"], x, NOISE)
    assert [w.split("'")[1] for w in warnings] == ["line"]


def test_huge_and_infinite_values_and_nulls_are_looked_past() -> None:
    x = np.column_stack([Y * 1e308, np.where(NOISE > 0, np.inf, NOISE), np.full(500, np.nan)])
    assert len(giveaways(Task("binary"), ["big", "infinite", "null"], x, Y)) == 1
    assert len(giveaways(Task("regression"), ["big", "infinite", "null"], x, Y)) == 1


def test_a_few_rows_prove_nothing() -> None:
    assert giveaways(Task("binary"), ["label"], Y[:50, None], Y[:50]) == []
