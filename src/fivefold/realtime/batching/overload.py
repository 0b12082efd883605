"""Whether a request can still be answered in time, asked before anything is done for it."""

from __future__ import annotations

from fivefold.realtime.batching.gradient import Gradient
from fivefold.realtime.batching.latency import Fit
from fivefold.realtime.batching.turns import Turn
from fivefold.realtime.protocols.bounds import Overloaded

PATIENCE = 1_000_000_000
"""Nanoseconds after which an answer comes too late where the endpoint promises no time."""
MOST_WAITING = 4096
"""Requests of one endpoint that may wait at once."""
UNKNOWN, UNKNOWN_PATIENT = 64, 512
"""Requests a turn that are let in before it is known what they take; the second where no time is promised."""
USUAL = 4
"""The priority of who states none; 1 goes first."""
_SHARES = {1: 1.0, 2: 1.0, 3: 0.95, 4: 0.9, 5: 0.7, 6: 0.6, 7: 0.5, 8: 0.5}


def share(priority: int) -> float:
    """The part of the time promised that requests of a priority may fill; what is less urgent is refused earlier."""
    return _SHARES.get(priority or USUAL, 0.5)


class Door:
    """Refuses requests of one endpoint that would be late; `slo` is the time promised, in nanoseconds (None: none).

    It never refuses the only request there is: what it expects may be wrong, and is mended only by answering.
    """

    def __init__(self, turn: Turn, slo: int | None) -> None:
        self._turn = turn
        self.slo = slo
        self.answering = Fit()
        """What a turn's answers take as a whole, by rows: merged calls, encoding and sending."""
        self.gradient = Gradient()
        self.refused = 0

    @property
    def promised(self) -> int:
        """Nanoseconds from arrival to answer."""
        return PATIENCE if self.slo is None else self.slo

    def in_turn(self, rows: int, priority: int, over: int | None, now: int) -> float:
        """Nanoseconds by which rows that are answered at the end of this turn would be late; 0 or less is in time.

        A turn may take half of the time promised: who arrives just after it began waits for it and for the next.
        """
        turn, fit = self._turn, self.answering
        if not turn.queued:
            return 0.0
        if not fit.known:
            # letting all in until it is known how long they take would be a backlog of seconds after a start under load
            return 1.0 if turn.asked >= (UNKNOWN_PATIENT if self.slo is None else UNKNOWN) else 0.0
        promised = self.promised * share(priority)
        # a margin beyond this would starve the endpoint for what has nothing to do with its load
        margin = min(turn.margin, promised / 4)
        finish = now + margin + turn.queued + fit.each * rows + fit.once
        due = min(turn.arrived + promised, turn.started + promised / 2)
        return finish - (due if over is None else min(due, over))

    def in_line(self, finish: float, priority: int, over: int | None, now: int, waiting: int) -> float:
        """The same for what waits for the worker and will be finished at `finish`, behind `waiting` requests."""
        if self.slo is None and waiting >= self.gradient.limit:
            return max(finish - now, 1.0)
        due = now + self.promised * share(priority)
        return finish - (due if over is None else min(due, over))

    def refuse(self, late: float) -> Overloaded:
        """The error for a request that would be late by so many nanoseconds."""
        self.refused += 1
        return Overloaded(
            f"the answer would come later than {self.promised / 1e6:g} ms: more is asked than can be answered.",
            hint="Ask again later, with some randomness.",
            retry_ms=max(1, -int(-late // 1_000_000)),
        )
