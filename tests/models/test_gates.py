from __future__ import annotations

import numpy as np
import pytest

from fivefold.core.errors import NotFound
from fivefold.core.learning import Gate
from fivefold.models.gates import judge
from fivefold.models.tasks import Task

BINARY = Task("binary")
random = np.random.default_rng(0)
Y = (random.random(1000) < 0.5).astype(float)
GOOD = np.clip(Y * 0.4 + random.random(1000) * 0.6, 0, 1)
POOR = np.clip(Y * 0.1 + random.random(1000) * 0.9, 0, 1)


def test_an_absolute_gate_compares_the_value_and_says_so() -> None:
    (passed,) = judge([Gate("auc", at_least=0.7)], task=BINARY, y=Y, p=GOOD)
    assert passed.passed
    assert passed.value is not None
    assert passed.reason.startswith("auc is 0.9")
    (failed,) = judge([Gate("brier", at_most=0.01)], task=BINARY, y=Y, p=GOOD)
    assert not failed.passed
    assert "not at most 0.01" in failed.reason


def test_a_limit_of_zero_is_a_limit() -> None:
    (r2,) = judge([Gate("r2", at_least=0)], task=Task("regression"), y=Y, p=1 - Y)
    assert not r2.passed
    (brier,) = judge([Gate("brier", at_most=0)], task=BINARY, y=Y, p=GOOD)
    assert not brier.passed


def test_both_limits_of_one_gate_are_decided() -> None:
    low, high = judge([Gate("auc", at_least=0.6, at_most=0.99)], task=BINARY, y=Y, p=GOOD)
    assert (low.passed, high.passed) == (True, True)


def test_a_better_candidate_beats_the_champion_and_an_equal_one_does_not() -> None:
    gate = Gate("auc", beats="champion")
    (better,) = judge([gate], task=BINARY, y=Y, p=GOOD, champion=POOR, against=3)
    assert better.passed
    assert better.against == 3
    assert better.low is not None
    assert better.low > 0
    (same,) = judge([gate], task=BINARY, y=Y, p=GOOD, champion=GOOD, against=3)
    assert not same.passed
    assert "must be above 0" in same.reason
    (worse,) = judge([gate], task=BINARY, y=Y, p=POOR, champion=GOOD, against=3)
    assert not worse.passed
    assert worse.value is not None
    assert worse.value < 0


def test_less_is_better_for_losses() -> None:
    (better,) = judge([Gate("logloss", beats="champion")], task=BINARY, y=Y, p=GOOD, champion=POOR)
    assert better.passed


def test_by_asks_the_lower_end_to_be_that_far_above() -> None:
    (near,) = judge([Gate("auc", beats="champion", by=0.5)], task=BINARY, y=Y, p=GOOD, champion=POOR)
    assert not near.passed
    assert "must be at least 0.5" in near.reason


def test_the_first_version_beats_nobody_and_passes() -> None:
    (first,) = judge([Gate("auc", beats="champion", by=0.1)], task=BINARY, y=Y, p=POOR)
    assert first.passed
    assert "no champion to beat yet" in first.reason


def test_a_gate_with_a_segment_must_hold_in_each_large_enough_value() -> None:
    place = np.array(["JFK"] * 600 + ["LGA"] * 390 + [None] * 10, dtype=object)
    mixed = np.where(np.arange(1000) < 600, GOOD, 1 - GOOD)
    gate = Gate("auc", at_least=0.7, segment="origin", min_rows=100)
    decisions = judge([gate], task=BINARY, y=Y, p=mixed, segments={"origin": place})
    assert [(d.passed, d.reason.split(" is ")[0]) for d in decisions] == [
        (True, "auc for origin JFK"),
        (False, "auc for origin LGA"),
    ]


def test_a_segment_without_enough_rows_anywhere_says_that_nothing_was_judged() -> None:
    gate = Gate("auc", at_least=0.7, segment="origin", min_rows=2000)
    (decision,) = judge([gate], task=BINARY, y=Y, p=GOOD, segments={"origin": np.full(1000, "JFK", dtype=object)})
    assert decision.passed
    assert "no origin has 2000 test rows" in decision.reason


def test_a_segment_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="no segment 'origin'"):
        judge([Gate("auc", at_least=0.7, segment="origin")], task=BINARY, y=Y, p=GOOD)


@pytest.mark.parametrize("gate", [Gate("auc", at_least=0.1), Gate("auc", beats="champion")])
def test_an_undefined_metric_does_not_pass(gate: Gate) -> None:
    (decision,) = judge([gate], task=BINARY, y=np.ones(1000), p=GOOD, champion=POOR)
    assert not decision.passed
    assert "undefined on these 1000 rows" in decision.reason


def test_the_same_seed_decides_the_same() -> None:
    gates = [Gate("auc", at_least=0.7), Gate("logloss", beats="champion", by=0.001)]
    one, two = (judge(gates, task=BINARY, y=Y, p=GOOD, champion=POOR, seed=9) for _ in range(2))
    assert one == two


def test_ranking_gates_compare_within_groups() -> None:
    groups = np.repeat(np.arange(100), 10)
    y = random.integers(0, 3, 1000).astype(float)
    (decision,) = judge([Gate("ndcg@10", beats="champion")], task=Task("ranking"), y=y, p=y, champion=-y, groups=groups)
    assert decision.passed
