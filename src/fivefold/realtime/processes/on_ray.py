"""A project's endpoints on Ray Serve: the application of `fivefold serve`, once in each of Ray's replicas.

    from ray import serve
    from fivefold.realtime.processes.on_ray import application

    serve.run(application("/shared/shop", env="prod", replicas="2-8"))

The folder of the project must be at the same place on every node.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from fivefold.core.errors import Invalid, Unavailable, missing_extra
from fivefold.realtime.http.asgi import Asgi
from fivefold.realtime.processes import application as ours
from fivefold.realtime.processes.autoscaler import Policy
from fivefold.realtime.processes.exposure import host_names
from fivefold.realtime.processes.process import DRAIN_SECONDS, SETTLE_SECONDS
from fivefold.realtime.processes.replicas import parse_workers
from fivefold.realtime.processes.server import chosen_endpoints, require_safe
from fivefold.workspace import Workspace, open_workspace

MOST_UNDER_WAY = 256
"""Requests that Ray gives to a replica at once: many, for merging and refusing them is the replica's business."""

HEALTH_SECONDS = 5
"""How often Ray asks a replica whether it is well."""


class Place(msgspec.Struct, frozen=True):
    """What a replica needs to open its application, on whichever node. `host` is where Serve's proxies listen."""

    root: str
    env: str = "dev"
    names: tuple[str, ...] = ()
    at: int | None = None
    host: str = "127.0.0.1"
    insecure_http: bool = False


class _Opened:
    """The application of one replica, until it is told to leave."""

    def __init__(self, place: Place) -> None:
        with ExitStack() as stack:
            # a replica is a process of its own: what the environment holds is read here, once
            workspace = stack.enter_context(
                open_workspace(
                    Path(place.root), env=place.env, actor=os.environ.get("FIVEFOLD_ACTOR", "ray"), secrets=os.environ
                )
            )
            closed = _safe(workspace, place)
            self.application = stack.enter_context(
                ours.application(
                    workspace,
                    chosen_endpoints(workspace, place.names),
                    hosts=host_names(place.host, workspace.env.hosts),
                    closed=closed,
                    at=place.at,
                )
            )
            for live in self.application.endpoints.values():
                live.warm()
            self._stack = stack.pop_all()

    def asgi(self) -> Asgi:
        app = self.application.app
        return Asgi(app, app.refused, self.close)

    def close(self) -> None:
        self.application.app.draining = True
        self._stack.close()

    def require_well(self) -> None:
        """Raise Unavailable when it does not look for promotions any more: Ray takes another replica for it then."""
        if not self.application.watching.is_alive():
            raise Unavailable("this replica does not look for other champions any more.")


class _Replica:
    """What Ray makes in each replica."""

    def __init__(self, place: Place) -> None:
        self._opened = _Opened(place)

    def __serve_build_asgi_app__(self) -> Asgi:
        return self._opened.asgi()

    def check_health(self) -> None:
        self._opened.require_well()


def application(
    project: str | Path,
    *,
    env: str = "dev",
    names: Sequence[str] = (),
    at: int | None = None,
    replicas: str = "1",
    host: str = "127.0.0.1",
    insecure_http: bool = False,
    policy: Policy | None = None,
) -> Any:
    """A Serve application for `serve.run`: all endpoints of a project, or the named ones.

    `replicas` is `N`, or `N-M` for as many as the load needs, by the target and the windows of `policy` (default: those
    of `fivefold serve --workers N-M`). `at` (microseconds UTC) is the moment that is answered for; now, when None.
    `host` is where Serve's proxies listen. They speak no TLS, so other machines are served only with `insecure_http`,
    and only with credentials; an open replica answers clients of its own machine alone, whatever is said here.

    Raises Invalid for an address that must not be served on like this, NotFound for an unknown endpoint, Unsupported
    without Ray.
    """
    least, most = parse_workers(replicas)
    place = Place(str(Path(project).resolve()), env, tuple(names), at, host, insecure_http)
    with open_workspace(Path(project), env=env, secrets=os.environ) as workspace:
        # what is wrong is said here, and not by each replica
        _safe(workspace, place)
        host_names(host, workspace.env.hosts)
        chosen_endpoints(workspace, names)
    serve = _serve()
    deployment = serve.deployment(serve.ingress()(_Replica)).options(
        name="endpoints",
        max_ongoing_requests=MOST_UNDER_WAY,
        graceful_shutdown_timeout_s=DRAIN_SECONDS + SETTLE_SECONDS,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=HEALTH_SECONDS,
        **_scale(least, most, policy or Policy()),
    )
    return deployment.bind(place)


def run(
    application: Any,
    *,
    name: str,
    host: str,
    port: int,
    address: str = "",
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve an application on a Ray cluster, one of its own without an `address`, until SIGTERM or SIGINT.

    On a cluster that was there only this application is taken away at the end. Raises Unavailable when no cluster
    answers at the address.
    """
    serve = _serve()
    import ray

    over = threading.Event()
    try:
        ray.init(address=address or "local", include_dashboard=False if not address else None, log_to_driver=False)
    except (ConnectionError, OSError, RuntimeError) as e:
        raise Unavailable(f"no Ray cluster at {address or 'local'!r}: {e}.", hint="Does `ray status` see it?") from None
    try:
        serve.start(http_options={"host": host, "port": port})
        serve.run(application, name=name, route_prefix="/")
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: over.set())
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        over.wait()
        serve.delete(name)
        if not address:
            serve.shutdown()
    finally:
        ray.shutdown()


def _scale(least: int, most: int, policy: Policy) -> dict[str, Any]:
    if least == most:
        return {"num_replicas": least}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": policy.target,
            "look_back_period_s": policy.stable_window,
            "upscale_delay_s": policy.panic_window,
            "downscale_delay_s": policy.down_after,
        }
    }


def _safe(workspace: Workspace, place: Place) -> bool:
    return require_safe(workspace, place.host, False, place.insecure_http)


def require_no_more(grpc_port: int | None, encrypted: bool, watched: bool) -> None:
    """Raise Invalid for what Ray's proxies do not do for us."""
    if grpc_port is not None:
        raise Invalid("Ray Serve does not carry our gRPC.", hint="Leave --grpc-port out, or serve without --on ray.")
    if encrypted:
        raise Invalid("Ray Serve's proxies speak no TLS.", hint="Use --insecure-http behind a proxy that encrypts.")
    if watched:
        raise Invalid("--access-log and --traces are not for --on ray.", hint="Ray has logs and traces of its own.")


def _serve() -> Any:
    try:
        from ray import serve
    except ImportError:
        raise missing_extra("ray[serve]", "ray", "serving on Ray") from None
    return serve
