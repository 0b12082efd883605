"""The batcher: what is read in one turn of the loop is answered together at its end, without waiting for more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fivefold.realtime.batching.lane import Lane
from fivefold.realtime.batching.lane import Live as Answers
from fivefold.realtime.batching.turns import EventLoop, Loop, Turn
from fivefold.realtime.batching.waiting import Ready
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.protocols.batch import Batch, Outcome


class Batcher:
    """Fits the seam `Predict`. Batches grow with load: a turn that takes longer finds more to read after it.

    `slos` are the times promised by endpoint, in nanoseconds. `loop` is found when it first runs.
    """

    def __init__(self, slos: Mapping[str, int | None], loop: Callable[[], Loop] | None = None) -> None:
        self._slos = slos
        self._find_loop = loop or (lambda: EventLoop(len(slos)))
        self._loop: Loop | None = None
        self._turn = Turn()
        self._lanes: dict[str, Lane] = {}

    def __call__(self, live: Live, batch: Batch) -> Awaitable[Outcome]:
        """Answer a batch at the end of this turn, or when the worker is free; at once, while requests come one by one.

        Raises Overloaded when it would be late, Expired when its time is over, else what `Live.answer` raises.
        """
        lane, now = self._turned(live)
        if self._turn.alone:
            found = lane.answer_alone(batch, now)
            if found is not None:
                return Ready(found)
        return lane.add(batch, now)

    def require(self, live: Answers, rows: int, priority: int, over: int | None = None) -> None:
        """Raise Overloaded when rows that are read now could not be answered in time."""
        lane, now = self._turned(live)
        if not self._turn.asked and lane.idle:
            return  # nothing is in front of it
        lane.require(rows, priority, over, now)

    @property
    def lanes(self) -> Mapping[str, Lane]:
        """What was asked of each endpoint that anything was asked of, and what calls of it take."""
        return self._lanes

    def counts(self, name: str) -> dict[str, Any]:
        """What was merged, refused and too late at an endpoint, and what calls take."""
        lane = self._lanes.get(name)
        if lane is None:
            return {"calls": 0, "merged_calls": 0, "refused": 0, "expired": 0}
        fit = lane.calling
        return {
            "calls": lane.calls,
            "merged_calls": lane.merged,
            "refused": lane.door.refused,
            "expired": lane.expired,
            "call_us": {"each_row": fit.each / 1e3, "once": fit.once / 1e3, "p99_beyond": fit.beyond / 1e3},
        }

    def _turned(self, live: Answers) -> tuple[Lane, int]:
        loop = self._loop
        if loop is None:
            loop = self._loop = self._find_loop()
        lane = self._lanes.get(live.name)
        if lane is None:
            lane = self._lanes[live.name] = Lane(live, loop, self._turn, self._slos.get(live.name))
        now = loop.now()
        if not self._turn.open:
            self._turn.begin(now)
            loop.soon(self._work)
        return lane, now

    def _work(self) -> None:
        assert self._loop is not None
        for lane in self._lanes.values():
            lane.work()
        self._turn.end(self._loop.now())
        if self._turn.asked > 1:
            self._loop.soon(self._turn.polled)
