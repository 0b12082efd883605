"""One process that serves a project's endpoints until it is told to stop."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable

import uvicorn

from fivefold.core.errors import Invalid, NotFound, Unavailable
from fivefold.core.uses import Endpoint
from fivefold.realtime.endpoint import POLL_SECONDS, Live
from fivefold.realtime.http import App
from fivefold.realtime.prediction_log import PredictionLog
from fivefold.workspace import Workspace

DRAIN_SECONDS = 10


def serve(
    workspace: Workspace,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    names: list[str] | None = None,
    started: Callable[[str, dict[str, Live]], None] | None = None,
) -> None:
    """Serve endpoints (all, or the named ones) until SIGTERM or SIGINT; requests under way are finished first.

    Raises Invalid for an address that is not of this machine alone (there is no authentication yet), NotFound for an
    unknown endpoint, Unavailable when the port is taken.
    """
    require_loopback(host)
    chosen = [
        e for e in workspace.project.of(Endpoint.kind) if isinstance(e, Endpoint) and e.name in (names or [e.name])
    ]
    for name in names or []:
        workspace.project.get(Endpoint.kind, name)
    if not chosen:
        raise NotFound("the project declares no endpoint.", hint="Add ff.Endpoint(NAME, MODEL) to project.py.")
    store, log = workspace.online(), PredictionLog(workspace.state)
    over = threading.Event()
    try:
        endpoints = {e.name: Live(workspace, e, store, log) for e in chosen}
        app = App(endpoints)
        server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http="httptools",
                loop="auto",
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                lifespan="on",
            )
        )
        server.app, server.ready = app, lambda at: started(at, endpoints) if started else None
        watcher = threading.Thread(target=_watch, args=(endpoints, over), name="champions", daemon=True)
        watcher.start()
        try:
            server.run()
        except SystemExit:
            raise Unavailable(f"cannot serve on {host}:{port}.", hint="Is the port in use? Try --port.") from None
    finally:
        over.set()
        log.close()
        store.close()


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


def _watch(endpoints: dict[str, Live], over: threading.Event) -> None:
    while not over.wait(POLL_SECONDS):
        for live in endpoints.values():
            live.refresh()


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens and where, and answering not ready as soon as it is told to stop."""

    app: App
    ready: Callable[[str], None]

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self.ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame: object) -> None:
        self.app.draining = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]
