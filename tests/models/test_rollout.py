"""The sequential tests over simulated traffic: looked at after every answer, and wrong no more often than promised."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.models.rollout import Arm, Decision, Rules, chosen, difference, exceeds, judge, loss_of

RULES = Rules(alpha=0.05)


def arm(losses: list[float]) -> Arm:
    made = Arm()
    for value in losses:
        made = made.loss(value)
    return made


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.integers(0, 40))
def test_arms_merge_to_what_all_losses_give(losses: list[float], cut: int) -> None:
    whole, parts = arm(losses), arm(losses[:cut]).merged(arm(losses[cut:]))
    assert whole.losses == parts.losses == len(losses)
    if losses:
        assert whole.mean == pytest.approx(statistics.fmean(losses), rel=1e-9, abs=1e-6)
        assert parts.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    if len(losses) > 1:
        assert whole.variance == pytest.approx(statistics.variance(losses), rel=1e-6, abs=1e-3)
        assert parts.variance == pytest.approx(whole.variance, rel=1e-6, abs=1e-3)


def simulated(
    champion: Callable[[random.Random], float], canary: Callable[[random.Random], float], seed: int, most: int = 20_000,
    share: float = 0.5, rules: Rules = RULES
) -> tuple[Decision, int]:
    """The decision over labelled traffic, looked at after every ten answers, and after how many it came."""
    chance = random.Random(seed)
    arms = {"champion": Arm(), "canary": Arm()}
    for n in range(most):
        which = "canary" if chance.random() < share else "champion"
        value = (canary if which == "canary" else champion)(chance)
        arms[which] = arms[which].merged(Arm(1)).loss(value)
        if n % 10 == 0:
            verdict = judge(rules, arms["champion"], arms["canary"])
            if verdict.decision is not Decision.WAIT:
                return verdict.decision, n
    return Decision.WAIT, most


def squared(spread: float) -> Callable[[random.Random], float]:
    return lambda chance: chance.gauss(0, spread) ** 2


def test_a_better_version_is_promoted_and_a_worse_one_goes_back() -> None:
    better = [simulated(squared(1.0), squared(0.7), seed) for seed in range(12)]
    worse = [simulated(squared(1.0), squared(1.4), seed) for seed in range(12)]
    assert {d for d, _ in better} == {Decision.PROMOTE}
    assert {d for d, _ in worse} == {Decision.ROLL_BACK}
    assert statistics.median(n for _, n in [*better, *worse]) < 3000
    assert {d for d, _ in (simulated(squared(1.0), squared(1.6), s, share=0.1) for s in range(6))} == {Decision.ROLL_BACK}


def test_an_equal_version_is_seldom_judged_however_often_one_looks() -> None:
    wrong = sum(simulated(squared(1.0), squared(1.0), seed, 5000)[0] is not Decision.WAIT for seed in range(80))
    assert wrong <= 4, "at most one of twenty, over all looks together"


def test_with_a_margin_an_equal_version_is_promoted() -> None:
    rules = Rules(alpha=0.05, margin=0.2)
    found = [simulated(squared(1.0), squared(1.0), seed, 40_000, rules=rules)[0] for seed in range(6)]
    assert set(found) == {Decision.PROMOTE}


def test_a_version_that_fails_goes_back_at_once_and_one_that_does_not_stays() -> None:
    healthy = Arm(answers=10_000, failed=10)
    assert judge(RULES, healthy, Arm(answers=10, failed=10)).decision is Decision.ROLL_BACK
    assert "fails in 10 of 10 answers" in judge(RULES, healthy, Arm(answers=10, failed=10)).reason
    assert judge(RULES, healthy, Arm(answers=40, failed=0, late=20)).decision is Decision.ROLL_BACK
    assert judge(RULES, healthy, Arm(answers=1000, failed=2)).decision is Decision.WAIT
    assert judge(RULES, Arm(), Arm(answers=5, failed=1)).decision is Decision.WAIT


def test_failures_as_usual_are_seldom_called_more() -> None:
    wrong = 0
    for seed in range(100):
        chance, bad = random.Random(seed), 0
        for n in range(1, 2000):
            bad += chance.random() < 0.02
            if exceeds(bad, n, 0.02, 0.05):
                wrong += 1
                break
    assert wrong <= 8


def test_without_labels_so_many_good_answers_are_enough() -> None:
    rules = Rules(labels=False, answers=500)
    assert judge(rules, Arm(5000), Arm(499)).decision is Decision.WAIT
    assert judge(rules, Arm(5000), Arm(500)).decision is Decision.PROMOTE
    assert judge(Rules(), Arm(5000), Arm(500)).decision is Decision.WAIT


def test_losses_that_were_all_the_same_do_not_make_it_sure_of_everything() -> None:
    same = Arm(answers=150, losses=150, mean=1.0)
    bounds = difference(same, same, 0.01)
    assert bounds is not None
    assert bounds[0] < 0 < bounds[1]
    assert difference(same, Arm(losses=99, mean=1.0), 0.01) is None


def test_a_share_of_keys_is_chosen_the_same_way_each_time_and_a_larger_share_keeps_them() -> None:
    keys = [f"k{n}" for n in range(20_000)]
    tenth = {k for k in keys if chosen("late@7", k, 0.1)}
    assert len(tenth) / len(keys) == pytest.approx(0.1, abs=0.01)
    assert tenth == {k for k in keys if chosen("late@7", k, 0.1)}
    assert tenth < {k for k in keys if chosen("late@7", k, 0.3)}
    other = {k for k in keys if chosen("late@8", k, 0.1)}
    assert len(tenth & other) / len(tenth) == pytest.approx(0.1, abs=0.04), "the next canary meets other keys"
    assert not any(chosen("s", k, 0.0) for k in keys)
    assert all(chosen("s", k, 1.0) for k in keys)


@pytest.mark.parametrize(("task", "prediction", "label", "loss"), [
    ("regression", 3.0, 5.0, 4.0), ("binary", 0.8, 1, -math.log(0.8)), ("binary", 0.8, 0, -math.log(0.2)),
    ("multiclass", [0.1, 0.6, 0.3], 2, -math.log(0.3)), ("binary", 0.0, 1, -math.log(1e-15))])
def test_losses_are_those_of_the_task(task: str, prediction: float | list[float], label: float, loss: float) -> None:
    assert loss_of(task, prediction, label) == pytest.approx(loss)
