"""Before anything is read of a request: whether its caller may ask now, and would be answered in time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fivefold.core.identity import NOBODY, Principal
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.rates import Rates
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.http.replies import Reply
from fivefold.realtime.protocols.batch import Batch
from fivefold.realtime.protocols.bounds import Limited
from fivefold.realtime.telemetry.stages import Stages

_LONGEST = 10**9


class Gate:
    """Knows how busy the batcher is and how often each caller asked.

    A caller is known by who it is, where that is asked; else by the header `header`; who sends none, by its address.
    """

    def __init__(self, endpoints: Mapping[str, Live], batcher: Batcher, rates: Rates | None, header: bytes) -> None:
        self._endpoints, self._batcher = endpoints, batcher
        self._rates, self._header = rates, header
        self.limited = 0
        """Requests that were refused because their caller asks too often."""
        self._only = next(iter(endpoints.values())) if len(endpoints) == 1 else None

    def require(
        self, params: Mapping[str, str], headers: Mapping[bytes, bytes], peer: str, principal: Principal = NOBODY
    ) -> None:
        """Raise Limited for a caller that asks too often, Overloaded for a request that would be late."""
        if self._rates is not None:
            # who has a name is held to it: a header is whatever a caller makes up
            named = b"\0%b" % str(principal).encode() if principal.name else headers.get(self._header)
            self.require_rate(named or peer.encode())
        live = self._endpoints.get(params.get("endpoint") or params.get("model") or "", self._only)
        if live is not None:
            self._batcher.require(live, 1, priority(headers))

    def require_rate(self, key: bytes) -> None:
        """Raise Limited for a caller that asks too often."""
        if self._rates is not None and (wait := self._rates.take(key, time.perf_counter_ns())):
            self.limited += 1
            raise Limited("this caller asks more often than it may.", hint="Ask again later.", retry_ms=wait)


def priority(headers: Mapping[bytes, bytes]) -> int:
    """The priority (1 goes first, 0 is the usual one) of `priority: u=0..7`, as in RFC 9218, else the usual."""
    text = headers.get(b"priority")
    if text is None:
        return 0
    for word in text.split(b","):
        name, _, value = word.strip().partition(b"=")
        if name == b"u" and len(value) == 1 and b"0" <= value <= b"7":
            return value[0] - 47
    return 0


def under(batch: Batch, headers: Mapping[bytes, bytes], stages: Stages | None = None) -> Batch:
    """A batch with what its request's headers say: `priority`, and milliseconds to wait in `x-timeout-ms`.

    `stages` is where it is noted, for a request that is traced, that it is decoded now, and how it goes on.

    Raises Reply for a time that is none. What the body says already is kept; of two deadlines the earlier counts.
    """
    if stages is not None:
        batch.stages, stages.decoded = stages, time.perf_counter_ns()
    if b"priority" in headers and not batch.priority:
        batch.priority = priority(headers)
    text = headers.get(b"x-timeout-ms")
    if text is not None:
        if not text.isdigit() or not 0 < int(text[:12]) < _LONGEST:
            raise Reply(400, "the header x-timeout-ms is no number of milliseconds.", "Write a whole one, 1 or more.")
        until = batch.started + int(text) * 1_000_000
        batch.deadline = until if batch.deadline is None else min(until, batch.deadline)
    return batch
