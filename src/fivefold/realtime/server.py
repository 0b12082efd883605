"""One process that serves a project's endpoints until it is told to stop."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fivefold.access.authenticate import Authenticator
from fivefold.core.errors import NotFound, Unavailable, missing_extra
from fivefold.core.features import FeatureView
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.ports.streams import Broker
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.gate import Gate
from fivefold.realtime.batching.rates import Rates, rate
from fivefold.realtime.door import Door
from fivefold.realtime.endpoint import POLL_SECONDS, Live
from fivefold.realtime.exposure import host_names, must_authenticate
from fivefold.realtime.features import FeatureService
from fivefold.realtime.features_http import FeatureRoutes
from fivefold.realtime.feedback import Labels
from fivefold.realtime.feedback_http import FeedbackRoutes
from fivefold.realtime.http import App
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.realtime.process import Process
from fivefold.realtime.push import Push
from fivefold.realtime.sending import Sender
from fivefold.realtime.tls import Certificates
from fivefold.realtime.why_http import WhyRoutes
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import LOOKUPS

if TYPE_CHECKING:
    from fivefold.realtime.rpc import Call, RpcServer


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
    tls: Certificates | None = None,
    insecure_http: bool = False,
    started: Callable[[str, dict[str, Live], bool], None] | None = None,
    started_grpc: Callable[[str], None] | None = None,
    replica: Replica | None = None,
) -> None:
    """Serve endpoints (all, or the named ones) until SIGTERM or SIGINT; requests under way are finished first.

    `at` (microseconds UTC) is the moment that is answered for, for data of the past; now, when left out. With
    `grpc_port` inference and features answer gRPC too. Events for a stream are appended to its broker. As a `replica`
    it is one of several processes on a socket that is there already.

    Credentials are asked for where the environment says so, where other machines can reach the address, and as soon as
    the project has a user or a token; `started` is told whether they are, with the URL and the endpoints.

    Raises Invalid for an address that others can reach without a user or a token, or without `tls` unless
    `insecure_http`; NotFound for an unknown endpoint, Unavailable when the port is taken.
    """
    closed = require_safe(workspace, host, tls is not None, insecure_http)
    chosen = chosen_endpoints(workspace, names)
    env, anybody = workspace.env, workspace.catalog.grants.anybody
    hosts = host_names(host, env.hosts)
    with bound(host, port) if replica is None else replica.listening as listening:
        logging_to = partial(
            PredictionLog, workspace.state, kept_for=env.predictions_for, most_bytes=env.predictions_bytes
        )
        store, log, over = workspace.online(), logging_to(), threading.Event()
        lookups = logging_to(kind=LOOKUPS) if env.lookups_logged else None
        brokers: list[Broker] = []
        endpoints: dict[str, Live] = {}
        door = Door(Authenticator(workspace.catalog), closed=closed)
        try:
            endpoints = {e.name: Live(workspace, e, store, log, at) for e in chosen}
            features = FeatureService(workspace, store, at, lookups)
            push = Push(workspace.project, partial(_Log, workspace, brokers))
            batcher = Batcher({n: e.slo for n, e in endpoints.items()})
            gate = Gate(endpoints, batcher, _rates(workspace), env.request_key.lower().encode())
            app = App(
                endpoints,
                log,
                hosts=hosts,
                origins=env.origins,
                door=door,
                features=FeatureRoutes(features, push),
                predict=batcher,
                gate=gate,
                about=partial(_about, endpoints, batcher),
                why=WhyRoutes(workspace),
                feedback=FeedbackRoutes(endpoints, Labels(workspace, store)),
            )
            watched = (endpoints, partial(door.close_if, anybody), over)
            watcher = threading.Thread(target=_watch, args=watched, name="champions", daemon=True)
            watcher.start()
            rpcs = None
            if grpc_port is not None:
                rpcs = _grpc(endpoints, app, batcher, gate, features, push, door)(
                    host, grpc_port, tls.credentials() if tls else None, shared=replica is not None
                )
            process = Process(
                app, tls, lambda at: started(at, endpoints, closed) if started else None, rpcs, started_grpc
            )
            if replica is not None:
                for live in endpoints.values():
                    live.warm()
                process.reports_to(replica.pipe, [e.counts for e in endpoints.values()])
            process.serve(listening)
        finally:
            over.set()
            door.end()
            for live in endpoints.values():
                live.close()
            for each in (log, lookups):
                if each is not None:
                    each.close()
                    each.settle()
            store.close()
            for broker in brokers:
                broker.close()


def require_safe(workspace: Workspace, host: str, encrypted: bool, insecure_http: bool) -> bool:
    """Whether credentials are asked for on an address. Raises Invalid for one that must not be served on like this."""
    return must_authenticate(
        host,
        required=workspace.env.auth.required,
        anybody=workspace.catalog.grants.anybody(),
        encrypted=encrypted,
        insecure=insecure_http,
    )


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
    """What the list of endpoints says of one besides its version: its load, its cache, and a version on trial."""
    cache = endpoints[name].cache
    return {
        "load": batcher.counts(name),
        "cache": None if cache is None else cache.counts(),
        "rollout": endpoints[name].rollout(),
    }


def _grpc(
    endpoints: Mapping[str, Live],
    app: App,
    batcher: Batcher,
    gate: Gate,
    features: FeatureService,
    push: Push,
    door: Door,
) -> Callable[..., RpcServer]:
    """What makes the server of gRPC, of an address."""
    try:
        from fivefold.realtime.features_grpc import FeatureCalls
        from fivefold.realtime.oip_rpc import OipCalls
        from fivefold.realtime.rpc import Calls, RpcServer
    except ImportError:
        raise missing_extra("grpcio", "grpc", "serving gRPC") from None
    inference = OipCalls(endpoints, batcher, lambda: app.draining, gate)
    calls: list[Call] = [*inference.calls, *FeatureCalls(features, push).calls]
    return partial(RpcServer, Calls(calls, door))


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


def _watch(endpoints: dict[str, Live], close_door: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(POLL_SECONDS):
        for live in endpoints.values():
            live.refresh()
        with suppress(Unavailable):  # the catalog; it is asked again
            close_door()
