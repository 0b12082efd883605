"""Who comes is taken one a turn by a loop that is free, and many a turn by one that is not."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
import uvloop

from fivefold.realtime.http.connection import Front, Limits
from fivefold.realtime.http.http1 import Response
from fivefold.realtime.http.listener import EACH_SECONDS, MOST_AT_ONCE, Listener

CLIENTS = 40


async def turns_until_all_are_taken(seconds: float) -> list[int]:
    """Connections after each turn of a loop whose turns take so long."""
    loop = asyncio.get_running_loop()
    front = Front(lambda request: Response(200, b""), lambda s, m: Response(s, m.encode()), loop, Limits())
    with socket.create_server(("127.0.0.1", 0), backlog=CLIENTS) as listening:
        listener = Listener(listening, front)
        listener.open()
        clients = [socket.create_connection(listening.getsockname()) for _ in range(CLIENTS)]
        taken: list[int] = []
        while len(front.connections) < CLIENTS:
            time.sleep(seconds)  # what a turn's answers take
            await asyncio.sleep(0)
            taken.append(len(front.connections))
        listener.shut()
        for client in clients:
            client.close()
        front.close()
        await asyncio.sleep(0.01)
    return taken


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_loop_with_long_turns_takes_who_waits_within_a_few(loop) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        taken = runner.run(turns_until_all_are_taken(20 * EACH_SECONDS))
    assert len(taken) <= 8
    assert max(b - a for a, b in zip([0, *taken], taken, strict=False)) <= MOST_AT_ONCE


def test_a_loop_that_is_free_leaves_the_next_to_others() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        taken = runner.run(turns_until_all_are_taken(0.0))
    assert taken[:8] != [CLIENTS] * 8
    assert len(taken) >= CLIENTS // 4
