"""One process that serves a project's endpoints until it is told to stop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fivefold.core.errors import NotFound, Unavailable, missing_extra
from fivefold.core.features import FeatureView
from fivefold.core.uses import Endpoint
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.http.tls import Certificates
from fivefold.realtime.processes.application import Application, application
from fivefold.realtime.processes.exposure import host_names, must_authenticate
from fivefold.realtime.processes.process import Process
from fivefold.realtime.telemetry.watching import Watch
from fivefold.workspace import Workspace

if TYPE_CHECKING:
    from fivefold.realtime.grpc.calls import Call, RpcServer


class Replica(NamedTuple):
    """One of several processes that serve: the socket they share, the pipe to who supervises them, and the folder of
    their numbers."""

    listening: socket.socket
    pipe: int
    numbers: Path


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
    started: Callable[[str, Mapping[str, Live], bool], None] | None = None,
    started_grpc: Callable[[str], None] | None = None,
    replica: Replica | None = None,
    watch: Watch | None = None,
) -> None:
    """Serve endpoints (all, or the named ones) until SIGTERM or SIGINT; requests under way are finished first.

    `at` (microseconds UTC) is the moment that is answered for, for data of the past; now, when left out. With
    `grpc_port` inference and features answer gRPC too. Events for a stream are appended to its broker. As a `replica`
    it is one of several processes on a socket that is there already. `watch` sees every request.

    Credentials are asked for where the environment says so, where other machines can reach the address, and as soon as
    the project has a user or a token; `started` is told whether they are, with the URL and the endpoints.

    Raises Invalid for an address that others can reach without a user or a token, or without `tls` unless
    `insecure_http`; NotFound for an unknown endpoint, Unavailable when the port is taken.
    """
    closed = require_safe(workspace, host, tls is not None, insecure_http)
    chosen = chosen_endpoints(workspace, names)
    hosts = host_names(host, workspace.env.hosts)
    with (
        bound(host, port) if replica is None else replica.listening as listening,
        application(
            workspace,
            chosen,
            hosts=hosts,
            closed=closed,
            at=at,
            watch=watch,
            numbers=None if replica is None else replica.numbers,
        ) as opened,
    ):
        endpoints = opened.endpoints
        rpcs = None
        if grpc_port is not None:
            rpcs = _grpc(opened)(host, grpc_port, tls.credentials() if tls else None, shared=replica is not None)
        process = Process(
            opened.app, tls, lambda at: started(at, endpoints, closed) if started else None, rpcs, started_grpc
        )
        opened.metrics.append(process.connections)
        if opened.shared is not None:
            process.shares(opened.shared)
        if replica is not None:
            for live in endpoints.values():
                live.warm()
            process.reports_to(
                replica.pipe,
                [e.counts for e in endpoints.values()],
                lambda: sum(c["refused"] + c["expired"] for c in map(opened.batcher.counts, endpoints)),
            )
        process.serve(listening)


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


def _grpc(opened: Application) -> Callable[..., RpcServer]:
    """What makes the server of gRPC, of an address."""
    try:
        from fivefold.realtime.grpc.calls import Calls, RpcServer
        from fivefold.realtime.grpc.features import FeatureCalls
        from fivefold.realtime.grpc.oip import OipCalls
    except ImportError:
        raise missing_extra("grpcio", "grpc", "serving gRPC") from None
    inference = OipCalls(opened.endpoints, opened.batcher, lambda: opened.app.draining, opened.gate)
    calls: list[Call] = [*inference.calls, *FeatureCalls(opened.features, opened.push).calls]
    return partial(RpcServer, Calls(calls, opened.door, opened.app.watch))


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
