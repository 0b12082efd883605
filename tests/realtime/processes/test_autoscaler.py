"""The autoscaler over traces: a load, workers that take time to start, and what they would report."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.realtime.processes.autoscaler import Policy, Seen, State, begin, decide

TICK = 2.0
COLD = 6.0
"""Seconds until a worker that was started answers."""

POLICY = Policy(least=1, most=8, concurrency=10.0)


class Run:
    """Workers under a load, told to the scaler every two seconds: `load` gives the requests under way at a time."""

    def __init__(self, load: Callable[[float], float | None], seconds: float, policy: Policy = POLICY, workers: int = 1) -> None:
        self.history: list[tuple[float, int, int]] = []
        state, starting = State(workers), list[float]()
        at = 0.0
        while at < seconds:
            at += TICK
            here = load(at)
            starting = [t for t in starting if t > at]
            ready = max(1, state.workers - len(starting))
            seen = []
            if here is not None:
                over = max(0.0, here - ready * policy.concurrency)
                seen = [Seen(at, here, requests=int(here * 10), missed=int(over * 10))]
            after = decide(policy, state, seen, ready, at)
            assert policy.least <= after.workers <= policy.most
            new = after.workers - state.workers
            starting = starting[: len(starting) + min(0, new)] + [at + COLD] * max(0, new)
            state = after
            self.history.append((at, ready, state.workers))

    def workers(self, at: float) -> int:
        return next(w for t, _, w in self.history if t >= at)

    @property
    def changes(self) -> int:
        return sum(a[2] != b[2] for a, b in zip(self.history, self.history[1:], strict=False))


def steps(*parts: tuple[float, float]) -> Callable[[float], float]:
    """Load by time: (until, load)."""
    return lambda at: next(load for until, load in parts if at <= until)


def test_a_steady_load_gets_as_many_as_it_needs_and_no_more() -> None:
    run = Run(lambda _: 24.0, 600)
    assert run.workers(200) == math.ceil(24 / 7)
    assert len({w for t, _, w in run.history if t > 200}) == 1


def test_a_burst_is_met_within_the_short_window_and_held_for_the_long_one() -> None:
    run = Run(steps((120, 2), (180, 40), (1000, 2)), 600)
    assert run.workers(118) == 1
    assert run.workers(130) >= 5, "before the long window would have noticed"
    assert run.workers(200) >= 5, "and it does not go down while it panics"
    assert run.workers(420) == 1
    assert run.changes <= 8


def test_going_down_waits_until_fewer_have_been_enough_for_a_while() -> None:
    quick = Policy(least=1, most=8, concurrency=10.0, stable_window=10.0, panic_window=2.0, down_after=30.0)
    run = Run(steps((60, 40), (1000, 5)), 200, quick, workers=6)
    assert run.workers(60) == 6
    assert run.workers(88) == 6
    assert run.workers(130) < 6


def test_a_load_that_swings_does_not_make_workers_come_and_go() -> None:
    run = Run(lambda at: 30 + 12 * math.sin(at / 5), 900)
    assert run.changes <= 6


def test_silence_is_not_an_idle_endpoint() -> None:
    run = Run(lambda at: 40.0 if at < 100 else None, 400)
    assert run.workers(398) == run.workers(98) >= 5


def test_missed_deadlines_ask_for_one_more_but_not_while_one_is_starting() -> None:
    state = State(2)
    late = [Seen(2.0, 4.0, requests=100, missed=20)]
    after = decide(POLICY, state, late, ready=2, now=2.0)
    assert after.workers == 3
    again = decide(POLICY, after, [Seen(4.0, 4.0, requests=100, missed=20)], ready=2, now=4.0)
    assert again.workers == 3, "the third has not answered yet"
    assert decide(POLICY, again, [Seen(6.0, 4.0, requests=100, missed=20)], ready=3, now=6.0).workers == 4


def test_after_a_restart_what_there_was_is_kept_until_a_whole_window_was_seen() -> None:
    state = begin(5, 0.0)
    at = 0.0
    while at < 58:
        at += TICK
        state = decide(POLICY, state, [Seen(at, 1.0)], ready=5, now=at)
        assert state.workers == 5
    while at < 200:
        at += TICK
        state = decide(POLICY, state, [Seen(at, 1.0)], ready=state.workers, now=at)
    assert state.workers == 1


@pytest.mark.parametrize("target", [0.05, 0.5])
def test_a_target_below_one_does_not_run_away(target: float) -> None:
    policy = Policy(least=1, most=64, concurrency=target)
    run = Run(lambda _: 0.2, 60, policy)
    assert max(w for _, _, w in run.history) <= math.ceil(0.2 / (target * 0.7)) + 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 2000), st.floats(0, 1), st.integers(0, 12)), max_size=80),
       st.integers(1, 4), st.integers(0, 6))
def test_it_stays_within_its_bounds_and_depends_on_what_it_is_given_alone(
    given_seen: list[tuple[float, int, float, int]], least: int, more: int
) -> None:
    policy = Policy(least=least, most=least + more)
    for clock in (0.0, 1e9):
        state, states = State(least), []
        for i, (load, requests, missed, ready) in enumerate(given_seen):
            at = clock + 2.0 * (i + 1)
            state = decide(policy, state, [Seen(at, load, requests, int(requests * missed))], ready, at)
            assert policy.least <= state.workers <= policy.most
            states.append(state.workers)
        if clock == 0.0:
            first = states
    assert not given_seen or first == states, "the same at every hour"


def recorded(seed: int) -> Callable[[float], float]:
    """A day of a shop in ten minutes: a slow swell, noise, and a few rushes."""
    chance = random.Random(seed)
    rushes = [(chance.uniform(60, 540), chance.uniform(5, 30), chance.uniform(10, 40)) for _ in range(4)]
    noise = [chance.gauss(0, 1.5) for _ in range(400)]

    def load(at: float) -> float:
        swell = 12 + 10 * math.sin(at / 600 * 2 * math.pi - 1)
        return max(0.0, swell + noise[int(at // TICK)] + sum(h for s, d, h in rushes if s <= at < s + d))

    return load


@pytest.mark.parametrize("seed", range(10))
def test_a_recorded_day_is_served_with_few_moments_short_and_few_workers_idle(seed: int) -> None:
    load = recorded(seed)
    run = Run(load, 600, workers=2)
    short = sum(load(t) > ready * POLICY.concurrency for t, ready, _ in run.history)
    ideal = sum(math.ceil(load(t) / POLICY.target) for t, _, _ in run.history)
    spent = sum(w for _, _, w in run.history)
    assert short <= 0.08 * len(run.history)
    assert spent <= 2.2 * ideal
