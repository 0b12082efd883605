"""What a batcher needs of the event loop, so that a test can stand in its place, and when the loop's turns began."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from fivefold.realtime.batching.waiting import Waiting

BLOCKED = 500_000
"""Nanoseconds between two turns from which on the loop must have slept: nothing was waiting to be read then."""
TURNS = 64
"""Turns whose ends are remembered."""
EVERY = 8
SLOWER = 0.95
"""The part of turns that end within the margin."""


class Timer(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> None: ...


class Loop(Protocol):
    """Time, turns, timers, threads."""

    def now(self) -> int:
        """Nanoseconds that never go backwards."""
        ...

    def soon(self, call: Callable[[], None]) -> None:
        """Call at the end of this turn, when all that was read in it has been."""
        ...

    def at(self, when: int, call: Callable[[], None]) -> Timer:
        """Call at a moment of `now`."""
        ...

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Do work in a thread; `done` is called here with what it gave."""
        ...

    def waiting(self) -> Waiting:
        """A new answer to wait for."""
        ...


class EventLoop:
    """The running asyncio or uvloop loop, and up to so many threads."""

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(max(threads, 1), "batcher")
        self.now = time.perf_counter_ns

    def soon(self, call: Callable[[], None]) -> None:
        """Call at the end of this turn."""
        self._loop.call_soon(call)

    def at(self, when: int, call: Callable[[], None]) -> Timer:
        """Call at a moment of `now`."""
        return self._loop.call_later(max(0, when - self.now()) / 1e9, call)

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Do work in a thread."""

        def told(future: Any) -> None:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(done, future.result())

        self._threads.submit(work).add_done_callback(told)

    def waiting(self) -> Waiting:
        """A new answer to wait for."""
        return Waiting(loop=self._loop)


class Turn:
    """One turn of the loop: requests are read, then answered together.

    What is read in a turn arrived after the turn before it began, and nobody can say when: it lay in buffers of the
    system. That moment is `arrived`, the earliest. `queued` is the work (ns) that this turn has taken on, `margin` by
    how much turns end later than was expected when their last request was let in, in the slower cases.
    """

    def __init__(self) -> None:
        self.open = False
        self.started = self.arrived = 0
        self.asked = self._asked_before = 0
        self.queued = self.margin = 0.0
        self._ended = -(2**62)
        self._polled = True
        self._expected = 0.0
        self._errors = [0.0] * TURNS
        self._count = 0

    @property
    def alone(self) -> bool:
        """Whether this is the first request of its turn, and the last turn had no other: most likely none follows."""
        return not self.asked and self._asked_before <= 1

    def begin(self, now: int) -> None:
        """The first request of a turn is here."""
        slept = self._polled or (self.asked <= 1 and now - self._ended > BLOCKED)
        self.arrived = now if slept else self.started
        if not slept and self.queued:
            # the answers of the turn before have only now been sent
            self._note(now - self._expected)
        self.started = now
        self.open, self.queued, self.asked = True, 0.0, 0

    def took_on(self, now: int, work: float, once: float) -> None:
        """A request was let in, with so many nanoseconds of work, and a part that is the same for any number."""
        self.asked += 1
        self.queued += work
        self._expected = now + self.queued + once

    def end(self, now: int) -> None:
        """All of it is answered."""
        self.open, self._ended, self._asked_before, self._polled = False, now, self.asked, False

    def polled(self) -> None:
        """The loop has looked for more since the turn ended: without a turn since, nothing was there."""
        if not self.open:
            self._polled = True
            if self.queued:
                self._note(self._ended - self._expected)
                self.queued = 0.0

    def _note(self, error: float) -> None:
        self._errors[self._count % TURNS] = error
        self._count += 1
        if self._count % EVERY == 0:
            self.margin = max(0.0, sorted(self._errors)[int(SLOWER * TURNS)])
