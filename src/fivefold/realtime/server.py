"""One process that serves a project's endpoints until it is told to stop."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from fivefold.core.errors import Invalid, NotFound, Unavailable, missing_extra
from fivefold.core.features import FeatureView
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.ports.streams import Broker
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.gate import Gate
from fivefold.realtime.batching.rates import Rates, rate
from fivefold.realtime.connection import Front, Limits
from fivefold.realtime.endpoint import POLL_SECONDS, Live
from fivefold.realtime.features import FeatureService
from fivefold.realtime.features_http import FeatureRoutes
from fivefold.realtime.feedback import Labels
from fivefold.realtime.feedback_http import FeedbackRoutes
from fivefold.realtime.http import LOOPBACK, App
from fivefold.realtime.listener import Listener
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.realtime.protocols.bounds import MOST_BYTES
from fivefold.realtime.protocols.oip_about import Counts
from fivefold.realtime.push import Push
from fivefold.realtime.reports import Report, report
from fivefold.realtime.sending import Sender
from fivefold.realtime.why_http import WhyRoutes
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import LOOKUPS

if TYPE_CHECKING:
    from fivefold.realtime.rpc import RpcServer

DRAIN_SECONDS = 10
BACKLOG = 1024
"""Clients that may wait to be accepted."""

_TICK = 0.02
INTERRUPTED_SECONDS = 1.0
"""How long calls of gRPC that are under way may take after Ctrl-C."""

FAREWELL_SECONDS = 0.5
"""How long a server that was told to stop goes on answering, so that clients leave with an answer and not without."""


class Replica(NamedTuple):
    """One of several processes that serve: the socket they share, and the pipe to who supervises them."""

    listening: socket.socket
    pipe: int


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
    replica: Replica | None = None,
) -> None:
    """Serve endpoints (all, or the named ones) until SIGTERM or SIGINT; requests under way are finished first.

    `at` (microseconds UTC) is the moment that is answered for, for data of the past; now, when left out. With
    `grpc_port` inference and features answer gRPC too. Events for a stream are appended to its broker. As a `replica`
    it is one of several processes on a socket that is there already.

    Raises Invalid for an address that is not of this machine alone (there is no authentication yet), NotFound for an
    unknown endpoint, Unavailable when the port is taken.
    """
    require_loopback(host)
    chosen = chosen_endpoints(workspace, names)
    env = workspace.env
    with bound(host, port) if replica is None else replica.listening as listening:
        logging_to = partial(
            PredictionLog, workspace.state, kept_for=env.predictions_for, most_bytes=env.predictions_bytes
        )
        store, log, over = workspace.online(), logging_to(), threading.Event()
        lookups = logging_to(kind=LOOKUPS) if env.lookups_logged else None
        brokers: list[Broker] = []
        endpoints: dict[str, Live] = {}
        try:
            endpoints = {e.name: Live(workspace, e, store, log, at) for e in chosen}
            features = FeatureService(workspace, store, at, lookups)
            push = Push(workspace.project, partial(_Log, workspace, brokers))
            hosts = (*LOOPBACK, f"[{host}]" if ":" in host else host)
            batcher = Batcher({n: e.slo for n, e in endpoints.items()})
            gate = Gate(endpoints, batcher, _rates(workspace), workspace.env.request_key.lower().encode())
            app = App(
                endpoints,
                log,
                hosts=hosts,
                features=FeatureRoutes(features, push),
                predict=batcher,
                gate=gate,
                about=partial(_about, endpoints, batcher),
                why=WhyRoutes(workspace),
                feedback=FeedbackRoutes(endpoints, Labels(workspace, store)),
            )
            watcher = threading.Thread(target=_watch, args=(endpoints, over), name="champions", daemon=True)
            watcher.start()
            shared = replica is not None
            rpcs = None
            if grpc_port is not None:
                rpcs = _grpc(endpoints, app, batcher, gate, features, push, host, grpc_port, shared)
            server = _Server(app, lambda at: started(at, endpoints) if started else None, rpcs, started_grpc)
            if replica is not None:
                for live in endpoints.values():
                    live.warm()
                server.reports_to(replica.pipe, [e.counts for e in endpoints.values()])
            _loop().run(server.run(listening))
        finally:
            over.set()
            for live in endpoints.values():
                live.close()
            for each in (log, lookups):
                if each is not None:
                    each.close()
                    each.settle()
            store.close()
            for broker in brokers:
                broker.close()


def chosen_endpoints(workspace: Workspace, names: Sequence[str] | None) -> list[Endpoint]:
    """The named endpoints, or all. Raises NotFound for a name that is not declared, and where nothing can be served."""
    for name in names or []:
        workspace.project.get(Endpoint.kind, name)
    chosen = [
        e for e in workspace.project.of(Endpoint.kind) if isinstance(e, Endpoint) and e.name in (names or [e.name])
    ]
    if not chosen and not workspace.project.of(FeatureView.kind):
        raise NotFound("the project declares no endpoint.", hint="Add ff.Endpoint(NAME, MODEL) to project.py.")
    return chosen


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


def _rates(workspace: Workspace) -> Rates | None:
    text = workspace.env.request_rate
    return Rates(*rate(text, f"environment {workspace.env.name!r}, request_rate")) if text else None


def _about(endpoints: Mapping[str, Live], batcher: Batcher, name: str) -> dict[str, Any]:
    """What the list of endpoints says of one besides its version: its load and its cache."""
    cache = endpoints[name].cache
    rollout = endpoints[name].rollout()
    return {
        "load": batcher.counts(name),
        "cache": None if cache is None else cache.counts(),
        "rollout": rollout,
    }


def _grpc(
    endpoints: Mapping[str, Live],
    app: App,
    batcher: Batcher,
    gate: Gate,
    features: FeatureService,
    push: Push,
    host: str,
    port: int,
    shared: bool,
) -> RpcServer:
    try:
        from fivefold.realtime.features_grpc import FeatureCalls
        from fivefold.realtime.oip_rpc import OipCalls
        from fivefold.realtime.rpc import Calls, RpcServer
    except ImportError:
        raise missing_extra("grpcio", "grpc", "serving gRPC") from None
    inference = OipCalls(endpoints, batcher, lambda: app.draining, gate)
    return RpcServer(Calls([*inference.calls, *FeatureCalls(features, push).calls]), host, port, shared=shared)


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
def bound(host: str, port: int) -> Iterator[socket.socket]:
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


class _Server:
    """Answers until it is told to stop, and leaves without dropping anybody."""

    def __init__(
        self,
        app: App,
        ready: Callable[[str], None],
        rpcs: RpcServer | None,
        ready_rpcs: Callable[[str], None] | None,
    ) -> None:
        self._app, self._ready = app, ready
        self._rpcs, self._ready_rpcs = rpcs, ready_rpcs
        self._told = asyncio.Event()
        self._farewell = FAREWELL_SECONDS
        self._forced = self._interrupted = False
        self._pipe: int | None = None
        self._counts: Sequence[Counts] = ()
        self._connections = 0
        self._listens = False

    def reports_to(self, pipe: int, counts: Sequence[Counts]) -> None:
        """Tell a supervisor how it goes; without one any more, it ends."""
        self._pipe, self._counts = pipe, counts

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
        listener = Listener(listening, front)
        listener.open()
        self._listens = True
        reporting = None
        if self._pipe is not None:
            reporting = asyncio.ensure_future(report(self._pipe, lambda: self._report(front), self._told.set))
        host, port = listening.getsockname()[:2]
        self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        try:
            await self._told.wait()
            self._app.draining = front.draining = True
            self._listens = False
            if reporting is not None:
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
        finally:
            if reporting is not None:
                reporting.cancel()
            front.close()

    def _report(self, front: Front) -> Report:
        return Report(
            self._listens,
            sum(c.answered + c.failed for c in self._counts),
            sum(c.missed for c in self._counts),
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
