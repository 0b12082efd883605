"""A process that answers until it is told to stop, and leaves without dropping anybody."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

from fivefold.core.errors import FivefoldError
from fivefold.realtime.garbage import settled
from fivefold.realtime.http.connection import Front, Limits
from fivefold.realtime.http.front import App
from fivefold.realtime.http.listener import Listener
from fivefold.realtime.http.tls import LOOK_SECONDS, Certificates
from fivefold.realtime.processes.reports import Report, report
from fivefold.realtime.protocols.bounds import MOST_BYTES
from fivefold.realtime.protocols.oip_about import Counts
from fivefold.realtime.telemetry.families import Sample
from fivefold.realtime.telemetry.workers import Shared

if TYPE_CHECKING:
    from fivefold.realtime.grpc.calls import RpcServer

DRAIN_SECONDS = 10
SETTLE_SECONDS = 10
"""How long bringing the prediction log into files may take after that, for whoever decides when to kill it."""
BACKLOG = 1024
"""Clients that may wait to be accepted."""

INTERRUPTED_SECONDS = 1.0
"""How long calls of gRPC that are under way may take after Ctrl-C."""

FAREWELL_SECONDS = 0.5
"""How long a server that was told to stop goes on answering, so that clients leave with an answer and not without."""

_TICK = 0.02


class Process:
    """An application on a socket, with gRPC beside it. `ready` is told the URL, `ready_rpcs` the address of gRPC."""

    def __init__(
        self,
        app: App,
        tls: Certificates | None,
        ready: Callable[[str], None],
        rpcs: RpcServer | None,
        ready_rpcs: Callable[[str], None] | None,
    ) -> None:
        self._app, self._tls, self._ready = app, tls, ready
        self._rpcs, self._ready_rpcs = rpcs, ready_rpcs
        self._told = asyncio.Event()
        self._farewell = FAREWELL_SECONDS
        self._forced = self._interrupted = False
        self._pipe: int | None = None
        self._counts: Sequence[Counts] = ()
        self._missed: Callable[[], int] = lambda: 0
        self._listens = False
        self._shared: Shared | None = None
        self._front: Front | None = None

    def connections(self) -> list[Sample]:
        """How many clients there are."""
        return [Sample("fivefold_connections", (), 0 if self._front is None else len(self._front.connections))]

    def shares(self, shared: Shared) -> None:
        """Write its numbers for the other workers, twice a second."""
        self._shared = shared

    def reports_to(self, pipe: int, counts: Sequence[Counts], missed: Callable[[], int] = lambda: 0) -> None:
        """Tell a supervisor how it goes; without one any more, it ends. `missed` counts what was refused or expired."""
        self._pipe, self._counts, self._missed = pipe, counts, missed

    def serve(self, listening: socket.socket) -> None:
        """Serve on a socket until SIGTERM or SIGINT."""
        with settled():
            _loop().run(self._run(listening))

    async def _run(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for sig in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(sig, self._on_signal, sig)
        if self._rpcs is not None:
            address = await self._rpcs.start()
            if self._ready_rpcs is not None:
                self._ready_rpcs(address)
        front = self._front = Front(self._app, self._app.refused, loop, Limits(body_bytes=MOST_BYTES))
        listening.listen(BACKLOG)
        listener = Listener(listening, front, self._tls.context if self._tls else None)
        listener.open()
        self._listens = True
        beside = []
        if self._tls is not None:
            beside.append(asyncio.ensure_future(self._renew(self._tls, listener)))
        if self._pipe is not None:
            beside.append(asyncio.ensure_future(report(self._pipe, lambda: self._report(front), self._told.set)))
        host, port = listening.getsockname()[:2]
        self._ready(f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")
        try:
            await self._told.wait()
            await self._leave(front, listener, listening)
        finally:
            for each in beside:
                each.cancel()
            front.close()
            self._write_numbers()

    def _write_numbers(self) -> None:
        # who cannot write them answers without: whoever asks for them is told
        if self._shared is not None:
            with suppress(OSError):
                self._shared.write()

    async def _leave(self, front: Front, listener: Listener, listening: socket.socket) -> None:
        self._app.draining = front.draining = True
        self._listens = False
        if self._pipe is not None:
            # the others take who comes now
            listener.shut()
        # who has a connection, or comes just now, gets an answer that says that it is the last one
        await self._until(self._farewell, lambda: False)
        listener.shut()
        listening.close()
        front.leave()
        # a stream that is open and idle is not worth waiting for when somebody waits for the prompt
        grace = INTERRUPTED_SECONDS if self._interrupted else DRAIN_SECONDS
        stopping = None if self._rpcs is None else asyncio.ensure_future(self._rpcs.stop(grace))
        await self._until(DRAIN_SECONDS, lambda: not front.connections)
        if stopping is not None:
            await stopping

    async def _renew(self, tls: Certificates, listener: Listener) -> None:
        """Take certificates that were replaced, for connections that come from then on."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if tls.look():
                    listener.renew(tls.context)
            except FivefoldError as e:
                print(f"warning: the certificates there were are kept: {e}", file=sys.stderr)

    def _report(self, front: Front) -> Report:
        self._write_numbers()
        return Report(
            self._listens,
            sum(c.answered + c.failed for c in self._counts) + self._missed(),
            sum(c.missed for c in self._counts) + self._missed(),
            sum(c.nanoseconds + c.failed_nanoseconds for c in self._counts) / 1e9,
            len(front.connections),
        )

    async def _until(self, seconds: float, over: Callable[[], bool]) -> None:
        """Wait until something is so, so many seconds at most, or until it is told to stop at once."""
        end = time.monotonic() + seconds
        while not (over() or self._forced or time.monotonic() >= end):
            await asyncio.sleep(_TICK)

    def _on_signal(self, sig: int) -> None:
        if not self._told.is_set():
            self._interrupted = sig == signal.SIGINT
            self._farewell = 0.0 if self._interrupted else FAREWELL_SECONDS
            self._told.set()
        elif sig == signal.SIGINT:
            self._forced = True


def _loop() -> ModuleType:
    """What runs coroutines: uvloop, where there is one for this system."""
    try:
        import uvloop
    except ImportError:
        return asyncio
    return uvloop  # type: ignore[no-any-return, unused-ignore]
