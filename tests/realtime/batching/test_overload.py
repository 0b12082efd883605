"""The batcher under an open load in a time of its own: what the machine does meanwhile changes nothing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fake_loop import FakeLive, FakeLoop, batch

from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.protocols.bounds import Expired, Overloaded

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
READ, DECODE, EACH, ONCE, SEND, REFUSE = 10 * US, 10 * US, 60 * US, 60 * US, 15 * US, 8 * US
PEAK = SECOND / (READ + DECODE + EACH + SEND + ONCE / 64)
"""Answers a second when 64 are always there."""
R = (READ + REFUSE) * PEAK / SECOND


def simulated(load: float, slo: int, seconds: float, hiccup: float = 0.0) -> tuple[list[int], int, int]:
    """Latencies of answers (ns, the first second left out), and how many were refused and expired, at `load` times the
    peak; in part `hiccup` of the turns the machine does something else for 3 ms."""
    made, loop = random.Random(7), FakeLoop()
    ask, live = Batcher({"doubled": slo}, lambda: loop), FakeLive(loop, EACH, ONCE)
    began = due = loop.time
    end = began + int(seconds * SECOND)
    latencies: list[int] = []
    refused = expired = 0

    def answered(arrived: int) -> None:
        loop.time += SEND
        if arrived - began > SECOND:
            latencies.append(loop.time - arrived)

    while loop.time < end:
        if due > loop.time:
            loop.turn()  # it looks for more, finds nothing, and sleeps
            loop.time = due
        if made.random() < hiccup:
            loop.time += 3 * MS
        polled, read = loop.time, []
        while due <= polled:
            read.append(due)
            due += int(made.expovariate(load * PEAK) * SECOND)
        for arrived in read:
            loop.time += READ
            try:
                ask.require(live, 1, 0)
                loop.time += DECODE
                found: Any = ask(live, batch(1))
            except Overloaded:
                loop.time += REFUSE
                refused += 1
                continue
            except Expired:
                expired += 1
                continue
            if hasattr(found, "cancel"):
                found.resume = lambda f=found, a=arrived: answered(a) if f.exception() is None else None
            else:
                answered(arrived)
        loop.turn()
    loop.close()
    return sorted(latencies), refused, expired


@pytest.mark.parametrize("slo", [10 * MS, 20 * MS, 50 * MS])
@pytest.mark.parametrize("load", [1.5, 2.0, 3.0])
def test_at_more_than_saturation_what_is_let_in_is_in_time_and_nearly_all_that_is_possible_is_answered(
    load: float, slo: int
) -> None:
    latencies, refused, _ = simulated(load, slo, 5)
    assert latencies[int(0.99 * len(latencies))] <= slo
    goodput = sum(x <= slo for x in latencies) / 4
    assert goodput >= 0.9 * (1 - load * R) / (1 - R) * PEAK
    assert refused > 0


def test_on_a_machine_that_stumbles_it_still_keeps_what_it_promises() -> None:
    latencies, _, _ = simulated(2.0, 20 * MS, 5, hiccup=0.05)
    assert latencies[int(0.99 * len(latencies))] <= 20 * MS
    assert sum(x <= 20 * MS for x in latencies) / 4 >= 0.7 * (1 - 2 * R) / (1 - R) * PEAK


def test_below_saturation_nobody_is_refused() -> None:
    latencies, refused, expired = simulated(0.5, 20 * MS, 5)
    assert (refused, expired) == (0, 0)
    assert latencies[int(0.99 * len(latencies))] <= 5 * MS
