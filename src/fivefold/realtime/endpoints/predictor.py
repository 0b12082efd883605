"""One predictor behind all wire formats: what is put around it (a batcher, a cache) has the same shape."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from fivefold.realtime.batching.cache import InFlight
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.protocols.batch import Batch, Outcome


class Predict(Protocol):
    """What answers a batch for an endpoint; raises what `Live.answer` raises."""

    def __call__(self, live: Live, batch: Batch) -> Awaitable[Outcome]: ...


async def predict(live: Live, batch: Batch) -> Outcome:
    """Answer a batch at once, in the caller's turn; in a thread, when another one is making the same."""
    try:
        return live.answer(batch)
    except InFlight:
        return await asyncio.to_thread(live.answer, batch)
