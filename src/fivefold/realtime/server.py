"""One process that serves a project's endpoints until it is told to stop."""

from __future__ import annotations

import ipaddress
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from fivefold.core.errors import Invalid, NotFound, Unavailable, missing_extra
from fivefold.core.features import FeatureView
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.ports.streams import Broker
from fivefold.realtime.connection import Connection
from fivefold.realtime.endpoint import POLL_SECONDS, Live
from fivefold.realtime.features import FeatureService
from fivefold.realtime.features_http import FeatureRoutes
from fivefold.realtime.http import LOOPBACK, App
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.realtime.push import Push
from fivefold.realtime.sending import Sender
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import LOOKUPS

DRAIN_SECONDS = 10
FAREWELL_SECONDS = 0.5
"""How long a server that was told to stop goes on answering, so that clients leave with an answer and not without."""


def serve(
    workspace: Workspace,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    names: list[str] | None = None,
    at: int | None = None,
    grpc_port: int | None = None,
    started: Callable[[str, dict[str, Live]], None] | None = None,
    started_grpc: Callable[[str], None] | None = None,
) -> None:
    """Serve endpoints (all, or the named ones) until SIGTERM or SIGINT; requests under way are finished first.

    `at` (microseconds UTC) is the moment that is answered for, for data of the past; now, when left out. With
    `grpc_port` the feature service also answers gRPC. Events for a stream are appended to its broker.

    Raises Invalid for an address that is not of this machine alone (there is no authentication yet), NotFound for an
    unknown endpoint, Unavailable when the port is taken.
    """
    require_loopback(host)
    for name in names or []:
        workspace.project.get(Endpoint.kind, name)
    chosen = [
        e for e in workspace.project.of(Endpoint.kind) if isinstance(e, Endpoint) and e.name in (names or [e.name])
    ]
    if not chosen and not workspace.project.of(FeatureView.kind):
        raise NotFound("the project declares no endpoint.", hint="Add ff.Endpoint(NAME, MODEL) to project.py.")
    with _bound(host, port) as listening:
        store, log, over = workspace.online(), PredictionLog(workspace.state), threading.Event()
        lookups = PredictionLog(workspace.state, kind=LOOKUPS) if workspace.env.lookups_logged else None
        brokers: list[Broker] = []
        try:
            endpoints = {e.name: Live(workspace, e, store, log, at) for e in chosen}
            features = FeatureService(workspace, store, at, lookups)
            push = Push(workspace.project, partial(_Log, workspace, brokers))
            hosts = (*LOOPBACK, f"[{host}]" if ":" in host else host)
            app = App(endpoints, log, hosts=hosts, features=FeatureRoutes(features, push))
            watcher = threading.Thread(target=_watch, args=(endpoints, over), name="champions", daemon=True)
            watcher.start()
            with ExitStack() as stack:
                if grpc_port is not None:
                    bound = stack.enter_context(_grpc(features, push, host, grpc_port))
                    if started_grpc is not None:
                        started_grpc(f"{host}:{bound}")
                _Server(app, lambda at: started(at, endpoints) if started else None).run([listening])
        finally:
            over.set()
            log.close()
            if lookups is not None:
                lookups.close()
            store.close()
            for broker in brokers:
                broker.close()


class _Log:
    """Where the events of one stream go: its broker, opened when the first of them comes and then kept."""

    def __init__(self, workspace: Workspace, opened: list[Broker], stream: Stream) -> None:
        broker = workspace.broker(stream)
        opened.append(broker)
        self._sender = Sender(stream, broker)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send rows that were accepted. Raises Invalid for one that its format cannot hold; the others are sent."""
        for error in self._sender.send(rows):
            if error is not None:
                raise error


def _grpc(features: FeatureService, push: Push, host: str, port: int) -> AbstractContextManager[int]:
    try:
        from fivefold.realtime.features_grpc import served
    except ImportError:
        raise missing_extra("grpcio", "grpc", "serving gRPC") from None
    return served(features, push, host, port)


def require_loopback(host: str) -> None:
    """Raise Invalid for an address that other machines can reach: nobody is authenticated yet."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise Invalid(
            f"refusing to serve on {host!r} without authentication: other machines could reach it.",
            hint="Serve on 127.0.0.1, with a proxy that authenticates in front.",
        )


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at an address: a port that is taken is found before any model is loaded."""
    address = "127.0.0.1" if host == "localhost" else host
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    with made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((address, port))
        except OSError as e:
            raise Unavailable(
                f"cannot serve on {host}:{port}: {e.strerror or e}.", hint="Is the port in use? Try another --port."
            ) from None
        yield made


def _watch(endpoints: dict[str, Live], over: threading.Event) -> None:
    while not over.wait(POLL_SECONDS):
        for live in endpoints.values():
            live.refresh()


class _Server(uvicorn.Server):
    """uvicorn that says where it listens, and that leaves when told to without dropping anybody."""

    def __init__(self, app: App, ready: Callable[[str], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                loop="auto",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                lifespan="on",
            )
        )
        self._app = app
        self._ready = ready
        self._leaving: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        over = self._leaving is not None and time.monotonic() >= self._leaving
        return await super().on_tick(counter) or over

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again once it has shut down, which would end the process before the log is written
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.draining = True
        if self._leaving is None:
            self._leaving = time.monotonic() + (FAREWELL_SECONDS if sig == signal.SIGTERM else 0.0)
        elif sig == signal.SIGINT:
            self.force_exit = True
