"""An event loop in which time passes when it is told to, and an endpoint whose answers are known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.types import Type
from fivefold.realtime.batching.waiting import Waiting
from fivefold.realtime.protocols.batch import Batch, Outcome, Signature

FIELDS = {"x": Type.INT64}
POISON = 13


class Timer:
    def __init__(self, when: int, call: Callable[[], None]) -> None:
        self.when, self.call, self.over = when, call, False

    def cancel(self) -> None:
        self.over = True


class FakeLoop:
    """`turn` ends a turn; `pass_time` lets timers fire and the worker finish."""

    def __init__(self) -> None:
        self.time = 1_000_000_000
        self._real = asyncio.new_event_loop()
        self.ends: list[Callable[[], None]] = []
        self.timers: list[Timer] = []
        self.aside_now = False
        """Whether the worker works."""
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def now(self) -> int:
        return self.time

    def soon(self, call: Callable[[], None]) -> None:
        self.ends.append(call)

    def at(self, when: int, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(when, call))
        return self.timers[-1]

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.jobs.append((work, done))

    def waiting(self) -> Waiting:
        return Waiting(loop=self._real)

    def turn(self) -> None:
        ends, self.ends = self.ends, []
        for call in ends:
            call()

    def pass_time(self, nanoseconds: int) -> None:
        self.turn()  # a loop sleeps only when it has nothing left to do
        until = self.time + nanoseconds
        while due := [t for t in self.timers if not t.over and t.when <= until]:
            first = min(due, key=lambda t: t.when)
            self.time = max(self.time, first.when)
            first.over = True
            first.call()
        self.time = max(self.time, until)

    def finish_job(self) -> None:
        work, done = self.jobs.pop(0)
        self.aside_now = True
        made = work()
        self.aside_now = False
        done(made)

    def close(self) -> None:
        self._real.close()


class FakeLive:
    """Doubles x. A call takes `once` + `each` a row; -1 cannot be answered, and `broken` fails whole calls."""

    name, key = "doubled", "v1"

    def __init__(self, loop: FakeLoop, each: int = 0, once: int = 0) -> None:
        self.loop, self.each, self.once = loop, each, once
        self.calls: list[list[list[int]]] = []
        self.broken: FivefoldError | None = None
        self.signature = Signature("doubled", "m", 1, "v1", FIELDS, "regression", "fake")

    def answer_together(self, batches: Sequence[Batch]) -> list[Outcome]:
        self.calls.append([list(b.columns["x"]) for b in batches])
        self.loop.time += self.once + self.each * sum(b.size for b in batches)
        if self.broken is not None:
            raise self.broken
        return [self.alone(b) for b in batches]

    def alone(self, batch: Batch) -> Outcome:
        out = Outcome(self.signature, batch.at or 0, [], [], {}, [], [], [])
        for i, x in enumerate(batch.columns["x"]):
            if x == POISON:
                out.errors[i] = Invalid("thirteen")
                out.add(None, None, [], "")
            else:
                out.add(2.0 * x, None, [], f"p{x}")
        return out


def batch(*xs: int, **more: Any) -> Batch:
    return Batch(FIELDS, {"x": list(xs)}, len(xs), **more)


def told(outcome: Outcome) -> tuple[list[Any], dict[int, str]]:
    return outcome.predictions, {i: e.message for i, e in outcome.errors.items()}
