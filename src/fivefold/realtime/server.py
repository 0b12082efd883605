"""One process that serves a project's endpoints until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from fivefold.access.authenticate import Authenticator
from fivefold.core.errors import FivefoldError, NotFound, Unavailable, missing_extra
from fivefold.core.features import FeatureView
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.ports.streams import Broker
from fivefold.realtime.connection import Front, Limits
from fivefold.realtime.door import Door
from fivefold.realtime.endpoint import POLL_SECONDS, Live
from fivefold.realtime.exposure import host_names, must_authenticate
from fivefold.realtime.features import FeatureService
from fivefold.realtime.features_http import FeatureRoutes
from fivefold.realtime.http import App
from fivefold.realtime.listener import Listener
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.realtime.predictor import predict
from fivefold.realtime.protocols.bounds import MOST_BYTES
from fivefold.realtime.push import Push
from fivefold.realtime.sending import Sender
from fivefold.realtime.tls import LOOK_SECONDS, Certificates
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import LOOKUPS

if TYPE_CHECKING:
    from fivefold.realtime.rpc import Call, RpcServer

DRAIN_SECONDS = 10
BACKLOG = 1024
"""Clients that may wait to be accepted."""

_TICK = 0.02
INTERRUPTED_SECONDS = 1.0
"""How long calls of gRPC that are under way may take after Ctrl-C."""

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
    tls: Certificates | None = None,
    insecure_http: bool = False,
    started: Callable[[str, dict[str, Live], bool], None] | None = None,
    started_grpc: Callable[[str], None] | None = None,
) -> None:
    """Serve endpoints (all, or the named ones) until SIGTERM or SIGINT; requests under way are finished first.

    `at` (microseconds UTC) is the moment that is answered for, for data of the past; now, when left out. With
    `grpc_port` inference and features answer gRPC too. Events for a stream are appended to its broker.

    Credentials are asked for where the environment says so, where other machines can reach the address, and as soon as
    the project has a user or a token; `started` is told whether they are, with the URL and the endpoints.

    Raises Invalid for an address that others can reach without a user or a token, or without `tls` unless
    `insecure_http`; NotFound for an unknown endpoint, Unavailable when the port is taken.
    """
    env, anybody = workspace.env, workspace.catalog.grants.anybody
    closed = must_authenticate(
        host, required=env.auth.required, anybody=anybody(), encrypted=tls is not None, insecure=insecure_http
    )
    hosts = host_names(host, env.hosts)
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
        door = Door(Authenticator(workspace.catalog), closed=closed)
        try:
            endpoints = {e.name: Live(workspace, e, store, log, at) for e in chosen}
            features = FeatureService(workspace, store, at, lookups)
            push = Push(workspace.project, partial(_Log, workspace, brokers))
            routes = FeatureRoutes(features, push)
            app = App(endpoints, log, hosts=hosts, origins=env.origins, door=door, features=routes)
            watched = (endpoints, partial(door.close_if, anybody), over)
            watcher = threading.Thread(target=_watch, args=watched, name="champions", daemon=True)
            watcher.start()
            rpcs = None
            if grpc_port is not None:
                rpcs = _grpc(endpoints, app, features, push, door, (host, grpc_port), tls)
            server = _Server(
                app, tls, lambda at: started(at, endpoints, closed) if started else None, rpcs, started_grpc
            )
            _loop().run(server.run(listening))
        finally:
            over.set()
            door.end()
            log.close()
            if lookups is not None:
                lookups.close()
            store.close()
            for broker in brokers:
                broker.close()


def _loop() -> ModuleType:
    """What runs coroutines: uvloop, where there is one for this system."""
    try:
        import uvloop
    except ImportError:
        return asyncio
    return uvloop  # type: ignore[no-any-return, unused-ignore]


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


def _grpc(
    endpoints: Mapping[str, Live],
    app: App,
    features: FeatureService,
    push: Push,
    door: Door,
    address: tuple[str, int],
    tls: Certificates | None,
) -> RpcServer:
    try:
        from fivefold.realtime.features_grpc import FeatureCalls
        from fivefold.realtime.oip_rpc import OipCalls
        from fivefold.realtime.rpc import Calls, RpcServer
    except ImportError:
        raise missing_extra("grpcio", "grpc", "serving gRPC") from None
    inference = OipCalls(endpoints, predict, lambda: app.draining)
    calls: list[Call] = [*inference.calls, *FeatureCalls(features, push).calls]
    return RpcServer(Calls(calls, door), *address, tls.credentials() if tls else None)


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


def _watch(endpoints: dict[str, Live], close_door: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(POLL_SECONDS):
        for live in endpoints.values():
            live.refresh()
        with suppress(Unavailable):  # the catalog; it is asked again
            close_door()


class _Server:
    """Answers until it is told to stop, and leaves without dropping anybody."""

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

    async def run(self, listening: socket.socket) -> None:
        """Serve on a socket until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for sig in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(sig, self._on_signal, sig)
        if self._rpcs is not None:
            address = await self._rpcs.start()
            if self._ready_rpcs is not None:
                self._ready_rpcs(address)
        front = Front(self._app, self._app.refused, loop, Limits(body_bytes=MOST_BYTES))
        listening.listen(BACKLOG)
        listener = Listener(listening, front, self._tls.context if self._tls else None)
        listener.open()
        renewing = self._tls and asyncio.ensure_future(self._renew(self._tls, listener))
        host, port = listening.getsockname()[:2]
        self._ready(f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")
        try:
            await self._told.wait()
            self._app.draining = front.draining = True
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
        finally:
            if renewing:
                renewing.cancel()
            front.close()

    async def _renew(self, tls: Certificates, listener: Listener) -> None:
        """Take certificates that were replaced, for connections that come from then on."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if tls.look():
                    listener.renew(tls.context)
            except FivefoldError as e:
                print(f"warning: the certificates there were are kept: {e}", file=sys.stderr)

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
