"""What answers for a project's endpoints, opened: the same behind our own server and behind another one's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fivefold.access.authenticate import Authenticator
from fivefold.core.errors import Unavailable
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.ports.online import OnlineStore
from fivefold.ports.streams import Broker
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.gate import Gate
from fivefold.realtime.batching.rates import Rates, rate
from fivefold.realtime.door import Door
from fivefold.realtime.endpoints.endpoint import POLL_SECONDS, Live
from fivefold.realtime.endpoints.feedback import Labels
from fivefold.realtime.http.features import FeatureRoutes
from fivefold.realtime.http.feedback import FeedbackRoutes
from fivefold.realtime.http.front import App
from fivefold.realtime.http.why import WhyRoutes
from fivefold.realtime.lookup.service import FeatureService
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.streams.push import Push
from fivefold.realtime.streams.sending import Sender
from fivefold.realtime.telemetry.measuring import Measure, measuring
from fivefold.realtime.telemetry.metrics_http import MetricsRoutes
from fivefold.realtime.telemetry.watching import Watch
from fivefold.realtime.telemetry.workers import Shared
from fivefold.workspace import Workspace
from fivefold.workspace.predictions import LOOKUPS


class Application(NamedTuple):
    """The parts that answer. `watching` is the thread that looks for other champions.

    `metrics` is told of what else is to be measured; `shared` writes the numbers of one worker for the others.
    """

    app: App
    endpoints: Mapping[str, Live]
    batcher: Batcher
    gate: Gate
    features: FeatureService
    push: Push
    door: Door
    watching: threading.Thread
    metrics: list[Measure]
    shared: Shared | None
    store: OnlineStore


@contextmanager
def application(
    workspace: Workspace,
    chosen: Sequence[Endpoint],
    *,
    hosts: tuple[str, ...],
    closed: bool,
    at: int | None = None,
    watch: Watch | None = None,
    numbers: Path | None = None,
    state: Path | None = None,
) -> Iterator[Application]:
    """The application over endpoints, with its log and stores open; promotions are picked up while it is.

    `hosts` are the Host names it answers to; `closed` says whether credentials are asked for, and it closes by itself
    as soon as there is a user or a token. `at` (microseconds UTC) is the moment that is answered for; now, when None.
    `watch` sees all requests; `numbers` is the folder where workers share theirs; `state` is where it logs, if not in
    the workspace.
    What was logged is on the disk at its end. Raises Unavailable when a store does not answer.
    """
    env = workspace.env
    logging_to = partial(
        PredictionLog, state or workspace.state, kept_for=env.predictions_for, most_bytes=env.predictions_bytes
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
        watch = watch or Watch()
        metrics: list[Measure] = [watch.samples]
        measure = measuring(endpoints, batcher, gate, log, metrics)
        shared = None if numbers is None else Shared(numbers, measure)
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
            metrics=MetricsRoutes(shared or measure),
            watch=watch,
        )
        watched = (endpoints, partial(door.close_if, workspace.catalog.grants.anybody), over)
        watcher = threading.Thread(target=_watch, args=watched, name="champions", daemon=True)
        watcher.start()
        yield Application(app, endpoints, batcher, gate, features, push, door, watcher, metrics, shared, store)
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
    cache, recent = endpoints[name].cache, endpoints[name].feature_cache
    return {
        "load": batcher.counts(name),
        "cache": None if cache is None else cache.counts(),
        "feature_cache": None if recent is None else recent.counts(),
        "rollout": endpoints[name].rollout(),
    }


def _watch(endpoints: dict[str, Live], close_door: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(POLL_SECONDS):
        for live in endpoints.values():
            live.refresh()
        with suppress(Unavailable):  # the catalog; it is asked again
            close_door()
