"""How many workers an endpoint needs: a pure function of what was seen, of the state it returned last, and of the time.

The two windows and the panic of Knative's autoscaler (KPA), with what its users asked for: a worker that is starting
counts, silence is not zero load, deadlines that are missed add a worker, and going down waits until it was right for a
while.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Policy(msgspec.Struct, frozen=True):
    """The bounds and habits of one endpoint's scaling. Times are seconds.

    `concurrency` is how many requests a worker may have under way at once, of which `utilisation` is aimed at.
    """

    least: int = 1
    most: int = 4
    concurrency: float = 8.0
    utilisation: float = 0.7
    stable_window: float = 60.0
    panic_window: float = 6.0
    panic_at: float = 2.0
    """So many times what the workers can do makes it panic: it looks at the short window, and never goes down."""
    most_up: float = 8.0
    """So many times the workers there are is asked for at most at once."""
    down_after: float = 30.0
    """Fewer workers must have been enough for so long before one is let go."""
    missed: float = 0.01
    """The share of deadlines missed or requests refused that asks for one worker more."""

    @property
    def target(self) -> float:
        """Requests under way that a worker should have."""
        return self.concurrency * self.utilisation


class Seen(msgspec.Struct, frozen=True):
    """What was seen in the interval that ended at `at`: mean requests under way, requests, and those that missed.

    A request missed when its deadline passed, or it was refused for lack of room.
    """

    at: float
    concurrency: float
    requests: int = 0
    missed: int = 0


class State(msgspec.Struct, frozen=True):
    """What the function must remember; begin with the workers that are there.

    After a restart it begins in panic with what there is, for it knows nothing of the load that made it so.
    """

    workers: int
    seen: tuple[Seen, ...] = ()
    panic_since: float | None = None
    panic_most: int = 0
    fewer_since: float | None = None
    """Since when fewer workers have been enough all the time; `fewer` is the most that were wanted in it."""
    fewer: int = 0


def begin(workers: int, now: float) -> State:
    """The state of a scaler that has just started, over workers that were there before."""
    return State(workers, panic_since=now, panic_most=workers)


def decide(policy: Policy, state: State, seen: Sequence[Seen], ready: int, now: float) -> State:
    """The next state, whose `workers` is how many there should be.

    `seen` are the intervals since the last call (none, when nothing was reported: then nothing changes but panic's
    end), `ready` the workers that answer now, of the `state.workers` that there should be.
    """
    known = tuple(s for s in (*state.seen, *seen) if s.at > now - policy.stable_window)
    panic_since, panic_most = state.panic_since, state.panic_most
    if not known:
        # silence is no sign of an idle endpoint: its metrics may be what broke
        return msgspec.structs.replace(state, seen=known)
    serving = max(1, ready)
    stable = _clamped(policy, _needed(policy, known), state.workers)
    recent = [s for s in known if s.at > now - policy.panic_window]
    burst = _clamped(policy, _needed(policy, recent), state.workers) if recent else stable
    if recent and _mean(recent) / (policy.target * serving) >= policy.panic_at:
        # each time the burst is as strong again, the panic begins anew
        panic_since, panic_most = now, max(panic_most, burst)
    elif panic_since is not None and now - panic_since >= policy.stable_window:
        panic_since, panic_most = None, 0
    desired = stable
    if panic_since is not None:
        panic_most = max(panic_most, burst, stable)
        desired = max(panic_most, state.workers)
    if recent and _missed(recent) > policy.missed and ready >= state.workers:
        # only once those that are starting have had their turn: a cold worker is no reason for one more
        desired = max(desired, state.workers + 1)
    desired = min(max(desired, policy.least), policy.most)
    fewer_since, fewer = state.fewer_since, state.fewer
    if desired >= state.workers:
        fewer_since, fewer = None, 0
    else:
        fewer_since = now if fewer_since is None else fewer_since
        fewer = max(fewer, desired)
        desired = state.workers
        if now - fewer_since >= policy.down_after:
            desired, fewer_since, fewer = fewer, None, 0
    return State(desired, known, panic_since, panic_most, fewer_since, fewer)


def _needed(policy: Policy, seen: Sequence[Seen]) -> int:
    return math.ceil(_mean(seen) / policy.target - 1e-9)


def _mean(seen: Sequence[Seen]) -> float:
    return sum(s.concurrency for s in seen) / len(seen)


def _missed(seen: Sequence[Seen]) -> float:
    requests = sum(s.requests for s in seen)
    return sum(s.missed for s in seen) / requests if requests else 0.0


def _clamped(policy: Policy, count: int, workers: int) -> int:
    return min(max(count, math.floor(workers / 2)), math.ceil(policy.most_up * max(1, workers)))
