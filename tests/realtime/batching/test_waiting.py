"""What is waited for, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import gc

import pytest

from fivefold.realtime.batching.waiting import Later, Waiting
from fivefold.realtime.http.http1 import Response


async def _answering(waiting: Waiting) -> Response:
    await waiting
    return Response(200, b"")


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_request_that_waited_is_freed_at_once(cancelled: bool) -> None:
    def there() -> int:
        # not isinstance: it would wake what other libraries have as deprecated names
        return sum(type(o) in (Later, Waiting) for o in gc.get_objects())

    async def once() -> None:
        before = there()
        waiting = Waiting()
        answering = _answering(waiting)
        answering.send(None)
        later, told = Later(answering, waiting), []
        later.then(told.append)
        if cancelled:
            later.cancel()
        else:
            waiting.give("anything")
        assert [r.status for r in told] == ([] if cancelled else [200])
        del later, answering, waiting
        assert there() == before

    gc.collect()  # what other tests left
    gc.disable()
    try:
        asyncio.run(once())
    finally:
        gc.enable()
