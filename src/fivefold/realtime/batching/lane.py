"""The requests of one endpoint: merged at the end of a turn of the loop, or handed to a worker when calls are long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fivefold.core.errors import FivefoldError, Unavailable
from fivefold.realtime.batching.cache import InFlight
from fivefold.realtime.batching.latency import Fit
from fivefold.realtime.batching.overload import MOST_WAITING, USUAL, Door
from fivefold.realtime.batching.queue import Entry, Queue
from fivefold.realtime.batching.turns import Loop, Timer, Turn
from fivefold.realtime.batching.waiting import Waiting
from fivefold.realtime.protocols.batch import Batch, Outcome
from fivefold.realtime.protocols.bounds import Expired
from fivefold.realtime.telemetry.tally import SIZES, Histogram

LONG = 2_000_000
"""Nanoseconds from which on a call is made by the worker, so that the loop goes on."""
MOST_ROWS = 256
"""Rows of a merged call: few enough that each bad one among them can be found."""
MOST_FITS = 8
"""Versions whose latency is remembered."""

Answer = Outcome | FivefoldError


class Live(Protocol):
    """What answers, as the batcher needs it: batches of one signature together, an answer or an error for each."""

    name: str

    @property
    def key(self) -> str:
        """Which version answers now; empty for none."""
        ...

    def answer_together(self, batches: Sequence[Batch]) -> Sequence[Answer]: ...


class Lane:
    """One endpoint's queue, worker and latency."""

    def __init__(self, live: Live, loop: Loop, turn: Turn, slo: int | None) -> None:
        self._live, self._loop, self._turn = live, loop, turn
        self.door = Door(turn, slo)
        self._queue = Queue()
        self._calls: dict[str, Fit] = {}
        self._busy_until = 0.0
        self._busy = False
        self._under_way = 0
        self._timer: Timer | None = None
        self._pause: Timer | None = None
        self._waited = False
        self._between = Between()
        self.expired = self.merged = self.calls = 0
        self.sizes = Histogram(SIZES)
        """Rows of calls."""

    @property
    def cancelled(self) -> int:
        """Requests whose client left before they were computed, which they never were."""
        return self._queue.cancelled

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests that wait, and their rows."""
        return len(self._queue), self._queue.rows

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is being computed."""
        return not self._busy and not len(self._queue)

    @property
    def calling(self) -> Fit:
        """What calls of the version that answers now take, by rows."""
        key = self._live.key
        fit = self._calls.get(key)
        if fit is None:
            if len(self._calls) >= MOST_FITS:
                self._calls.pop(next(iter(self._calls)))
            fit = self._calls[key] = Fit()
        return fit

    def require(self, rows: int, priority: int, over: int | None, now: int) -> float:
        """Raise Overloaded for rows that could not be answered in time; gives the work (ns) that they are."""
        fit = self.calling
        waiting = len(self._queue)
        if waiting >= MOST_WAITING:
            raise self.door.refuse(fit.late(self._queue.rows))
        if fit.usual(rows) > LONG:
            # nothing is in front of it: what is expected of it may be wrong, and is mended only by answering
            if not fit.known or (not self._busy and not waiting):
                return 0.0
            finish = max(float(now), self._busy_until) + fit.late(self._queue.rows + rows)
            late = self.door.in_line(finish, priority, over, now, waiting + self._under_way)
            work = 0.0
        else:
            late = self.door.in_turn(rows, priority, over, now)
            work = max(self.door.answering.each * rows, 1.0)
        if late > 0:
            raise self.door.refuse(late)
        return work

    def answer_alone(self, batch: Batch, now: int) -> Outcome | None:
        """Answer a batch here and now, if nothing is in front of it and it takes short; else None.

        Raises Expired when its time is over, else what the call raises.
        """
        fit = self.calling
        if self._busy or len(self._queue) or fit.usual(batch.size) > LONG:
            return None
        if batch.deadline is not None and batch.deadline <= now:
            raise self._too_late()
        answers, took = self._timed([batch])
        if isinstance(answers[0], InFlight):
            return None
        self._turn.asked += 1
        (found,) = self._noted([batch], fit, answers, took)
        self.door.answering.add(batch.size, took)
        if isinstance(found, Exception):
            raise found
        return found

    def add(self, batch: Batch, now: int) -> Waiting:
        """Let a batch wait for the end of the turn. Raises Expired when its time is over, Overloaded as `require`."""
        over = batch.deadline
        if over is not None and over <= now:
            raise self._too_late()
        work = self.require(batch.size, batch.priority, over, now)
        self._turn.took_on(now, work, self.door.answering.once)
        self._between.add(now)
        due = now + self.door.promised
        if over is not None:
            due = min(due, over)
        elif self.door.slo is not None:
            over = due
        waiting = self._loop.waiting()
        self._queue.add(Entry(batch, waiting, batch.priority or USUAL, now, due, over))
        return waiting

    def work(self) -> None:
        """Answer what waits: short calls here and now, a long one by the worker, the rest when that is free."""
        queue = self._queue
        if not len(queue):
            return
        held: list[Entry] = []
        fit = self.calling
        self._drop_expired()
        began, rows = self._loop.now(), 0
        while len(queue):
            entries = queue.take(self._loop.now(), MOST_ROWS)
            size = sum(e.batch.size for e in entries)
            if fit.usual(size) <= LONG or (size > 1 and len(entries) > 1 and fit.usual(1) <= LONG):
                answers = self._called(entries, fit)
                if answers is None:
                    self._ask_aside(entries, fit, held)
                    continue
                rows += size
                self._give(entries, answers)
            elif self._busy or self._should_wait(entries, fit):
                held += entries
                if self._busy and fit.usual(1) > LONG:
                    break
            else:
                self._hand_over(entries, fit)
        queue.put_back(held)
        if rows:
            self.door.answering.add(rows, self._loop.now() - began)
        if len(queue) or self._timer is not None:
            self._watch_deadlines()

    def _ask_aside(self, entries: list[Entry], fit: Fit, held: list[Entry]) -> None:
        """Have a thread wait for what another one is making; the worker, once it is free: it may be making it."""
        if self._busy:
            held += entries
        else:
            self._hand_over(entries, fit, waits=True)

    def _should_wait(self, entries: Sequence[Entry], fit: Fit) -> bool:
        """Whether one more row is worth waiting for: it comes sooner than the part of a call that it saves."""
        if self._pause is not None:
            return True
        wait = self._between.usual
        size = sum(e.batch.size for e in entries)
        if wait * len(entries) >= fit.once or size >= MOST_ROWS or self._waited:
            return False
        now = self._loop.now()
        if min(e.due for e in entries) - now < wait + fit.late(size + 1):
            return False
        if now - min(e.arrived for e in entries) >= fit.once:
            return False  # it has waited for as long as it could ever save
        self._pause = self._loop.at(now + int(wait), self._paused)
        return True

    def _paused(self) -> None:
        self._pause = None
        self._waited = True  # what is here goes, whether more came or not
        self.work()
        self._waited = False

    def _hand_over(self, entries: Sequence[Entry], fit: Fit, waits: bool = False) -> None:
        """Have the worker call; what a call takes that `waits` for another one says nothing of calls."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        size = sum(e.batch.size for e in entries)
        self._busy, self._under_way = True, len(entries)
        self._busy_until = self._loop.now() + fit.late(size)

        def done(found: tuple[Sequence[Answer | Exception], int]) -> None:
            self._busy, self._under_way = False, 0
            now = self._loop.now()
            for entry in entries:
                self.door.gradient.add(now - entry.arrived)
            self._give(entries, self._noted(batches, None if waits else fit, *found))
            self.work()

        batches = [e.batch for e in entries]
        self._loop.aside(lambda: self._timed(batches), done)

    def _called(self, entries: Sequence[Entry], fit: Fit) -> Sequence[Answer | Exception] | None:
        """Answers to entries; None when another thread is making one of them."""
        batches = [e.batch for e in entries]
        answers, took = self._timed(batches)
        return None if isinstance(answers[0], InFlight) else self._noted(batches, fit, answers, took)

    def _timed(self, batches: Sequence[Batch]) -> tuple[Sequence[Answer | Exception], int]:
        """The answers of batches of one signature, or for each why there is none, and the nanoseconds it took."""
        count, began = len(batches), self._loop.now()
        answers: Sequence[Answer | Exception]
        try:
            answers = self._live.answer_together(batches)
            if len(answers) != count:
                answers = [Unavailable(f"{len(answers)} answers were made for {count} requests.")] * count
        except Exception as e:  # the edge of a call: its requests fail, the others go on
            answers = [e] * count
        return answers, self._loop.now() - began

    def _noted(
        self, batches: Sequence[Batch], fit: Fit | None, answers: Sequence[Answer | Exception], took: int
    ) -> Sequence[Answer | Exception]:
        self.calls += 1
        self.merged += len(batches) > 1
        rows = sum(b.size for b in batches)
        self.sizes.add(rows)
        if fit is not None and not isinstance(answers[0], Exception):
            fit.add(rows, took)
        return answers

    def _give(self, entries: Sequence[Entry], answers: Sequence[Answer | Exception]) -> None:
        for entry, answer in zip(entries, answers, strict=True):
            entry.waiting.give(answer)

    def _drop_expired(self) -> None:
        for entry in self._queue.expired(self._loop.now()):
            entry.waiting.give(self._too_late())

    def _too_late(self) -> Expired:
        self.expired += 1
        return Expired("the time that the request was given was over before it was answered.", hint="Give it more.")

    def _watch_deadlines(self) -> None:
        """Say that the time is over when it is, not when the worker is free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        over = self._queue.next_over()
        if over is not None:
            self._timer = self._loop.at(over, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        self._drop_expired()
        self._watch_deadlines()


class Between:
    """How long it takes until the next request, on average: nanoseconds."""

    def __init__(self) -> None:
        self.usual = 1e12
        self._last: int | None = None

    def add(self, now: int) -> None:
        """A request is here."""
        if self._last is not None:
            self.usual += 0.1 * (max(0, now - self._last) - self.usual)
        self._last = now
