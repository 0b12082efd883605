"""Load on an HTTP server with little work: open loop at a rate, or closed loop over so many connections."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TICK = 0.0005
FIRST = -20


def undisturbed(process: int | None = None) -> int:
    """Go before other processes of the machine, servers started from here as well; gives the niceness there is then.

    A generator that waits for its core measures that, not the server. Only root may go first. `process` is that of a
    server in a session of its own: Linux weighs sessions first, and processes only within one (sched(7), autogroup).
    """
    at = process or os.getpid()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, at, FIRST)
        Path(f"/proc/{at}/autogroup").write_text(str(FIRST))
    return os.getpriority(os.PRIO_PROCESS, at)


class Measured(NamedTuple):
    """`answered` counts statuses, `latencies` are seconds of answers with 200, from when they should have been sent."""

    answered: Counter[int]
    latencies: list[float]
    seconds: float
    unsent: int

    @property
    def rate(self) -> float:
        """Answers with 200 a second."""
        return self.answered[200] / self.seconds

    def percentile(self, part: float) -> float:
        """Seconds; nan without answers."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(part * len(found)))] if found else float("nan")

    def within(self, seconds: float) -> float:
        """Answers with 200 within so long, a second."""
        return sum(x <= seconds for x in self.latencies) / self.seconds


class _Client(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._held = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._load.free.append(self)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        held = self._held + data if self._held else data
        head = held.find(b"\r\n\r\n")
        if head < 0:
            self._held = held
            return
        at = held[:head].lower().find(b"content-length: ")
        whole = (
            held.endswith(b"\r\n0\r\n\r\n")
            if at < 0
            else len(held) >= head + 4 + int(held[at + 16 : held.index(b"\r", at)])
        )
        if not whole:
            self._held = held
            return
        self._held = b""
        self._load.done(self, int(held[9:12]))


class Load:
    """Requests to one address over so many connections."""

    def __init__(
        self, port: int, bodies: Sequence[bytes], connections: int, headers: str = "", path: str = "/predict/returned"
    ) -> None:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}"
        self._requests = [f"{head}content-length: {len(b)}\r\n\r\n".encode() + b for b in bodies]
        self._port, self._connections = port, connections
        self.free: deque[_Client] = deque()
        self._answered: Counter[int] = Counter()
        self._latencies: list[float] = []
        self._number = 0
        self._closed = self._counting = False

    def _next(self) -> bytes:
        self._number += 1
        return self._requests[self._number % len(self._requests)]

    def done(self, client: _Client, status: int) -> None:
        """An answer is here."""
        now = time.perf_counter()
        if self._counting:
            self._answered[status] += 1
            if status == 200:
                self._latencies.append(now - client.due)
        if self._closed:
            client.send(self._next(), now)
        else:
            self.free.append(client)

    async def run(self, seconds: float, rate: float | None = None, warm: float = 1.0) -> Measured:
        """Ask for so long, at `rate` requests a second whatever comes back, or as fast as answers come (None)."""
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._port)
        clients = list(self.free)
        began = time.perf_counter()
        waiting: deque[float] = deque()
        self._closed = rate is None
        if self._closed:
            while self.free:
                self.free.popleft().send(self._next(), time.perf_counter())
            await asyncio.sleep(warm)
            self._counting, counted = True, time.perf_counter()
            await asyncio.sleep(seconds)
            self._counting = False
            ended = time.perf_counter()
            self._closed = False
        else:
            due, end = began, began + warm + seconds
            counted, ended = began + warm, end
            while (now := time.perf_counter()) < end:
                self._counting = now >= counted
                while due <= now:
                    waiting.append(due)
                    due += random.expovariate(rate)
                while waiting and self.free:
                    self.free.popleft().send(self._next(), waiting.popleft())
                await asyncio.sleep(TICK)
            self._counting = False
        await asyncio.sleep(0.2)
        for client in clients:
            client.transport.close()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        return Measured(self._answered, self._latencies, ended - counted, len(waiting))
