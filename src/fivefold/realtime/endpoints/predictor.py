"""One predictor behind all wire formats: what is put around it (a batcher, a cache) has the same shape."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.protocols.batch import Batch, Outcome


class Predict(Protocol):
    """What answers a batch for an endpoint; raises what `Live.answer` raises."""

    def __call__(self, live: Live, batch: Batch) -> Awaitable[Outcome]: ...


async def predict(live: Live, batch: Batch) -> Outcome:
    """Answer a batch at once, in the caller's turn."""
    return live.answer(batch)
