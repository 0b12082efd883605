"""Two rollouts while the last hours leave: a better version replaces a hasty champion, and a hasty one goes back.

`fivefold serve` answers with two processes, `fivefold stream` applies the departures that are sent meanwhile, clients
ask without a pause, and tell what was true a moment later. Nobody ends a trial but the servers themselves.

The clients ask about flights of the last two months as if they left at the end of the last day, for the store answers
for later moments only: so losses here are higher than those of the report, for both versions.
"""

from __future__ import annotations

import os
import queue
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from fivefold.catalog.versions import Version
from fivefold.core.errors import FivefoldError, Invalid, Unavailable
from fivefold.core.features import Request, chosen
from fivefold.core.learning import Model, learner
from fivefold.core.time import iso
from fivefold.core.types import Schema
from fivefold.data.duck import ident, parquet
from fivefold.demo.measure import serving
from fivefold.mlops.train import train
from fivefold.realtime.client import Client
from fivefold.realtime.streams.sending import Sender
from fivefold.workspace import Workspace
from fivefold.workspace.served import CHAMPION

CANARY = "canary"
CLIENTS = 4
ASKED_ROWS = 20_000
LONGEST = 120.0
"""How long (seconds) a rollout may take."""


class Rollout(msgspec.Struct, frozen=True):
    """One rollout: what was champion, what was tried, what became of it, and why; `seconds` until then."""

    champion: int
    tried: int
    ended: str
    reason: str
    seconds: float


class Rollouts(msgspec.Struct, frozen=True):
    """Both rollouts, and the requests that were made meanwhile."""

    rollouts: list[Rollout]
    requests: int
    failed: int
    labels: int
    events: int
    requests_per_second: int
    p50_ms: float
    p99_ms: float
    equal: int = 0
    """How many features of the stream's view are those of the as-of join, at the end of the day."""


def roll_out(
    workspace: Workspace,
    schemas: dict[str, Schema],
    good: Version,
    at: int,
    events: Sequence[dict[str, Any]],
    sender: Sender,
    show: Callable[[str, int, int], None],
) -> tuple[Rollouts, str, bool]:
    """Try a version twice, under load, while `events` are sent. Features are as of `at` (µs).

    Raises Invalid when a request failed, or a version was judged the wrong way or not at all.
    """
    model = workspace.project.get(Model.kind, "late")
    assert isinstance(model, Model)
    hasty = train(workspace, msgspec.structs.replace(model, learner=HASTY), schemas).version
    rows = _rows(workspace, model)
    made: list[Rollout] = []
    _move(workspace, CHAMPION, hasty.number, "a hasty version, which the rollout is to replace")
    with serving(workspace, "--workers", "2") as port, _streaming(workspace), _Load(port, rows, iso(at)) as load:
        feeding = threading.Thread(target=_feed, args=(sender, events, load.over), daemon=True)
        feeding.start()
        for champion, tried, wanted in ((hasty, good, good.number), (good, hasty, good.number)):
            _move(workspace, CANARY, tried.number, "tried under load")
            made.append(_watched(workspace, champion.number, tried.number, load, len(made), show))
            if workspace.catalog.aliases.current("late", CHAMPION) != wanted:
                raise Invalid(f"late@{tried.number} was tried beside late@{champion.number}: {made[-1].reason}")
        feeding.join()
    found = Rollouts(
        made,
        len(load.took),
        len(load.failed),
        load.labels,
        len(events),
        round(len(load.took) / load.seconds),
        round(statistics.median(load.took), 3),
        round(sorted(load.took)[int(len(load.took) * 0.99)], 3),
    )
    if load.failed:
        raise Invalid(f"{len(load.failed)} requests failed while versions changed, the first with: {load.failed[0]}")
    said = (
        f"late@{good.number} became champion in {made[0].seconds:.0f} s, late@{hasty.number} went back in "
        f"{made[1].seconds:.0f} s, by themselves; {found.requests:,} requests, {found.failed} failed"
    )
    return found, said, True


HASTY = learner("lightgbm", num_leaves=63, n_estimators=40, learning_rate=3.0)
"""A learning rate that is forty times too high: sure of itself, and often wrong."""


def _move(workspace: Workspace, alias: str, to: int, reason: str) -> None:
    aliases = workspace.catalog.aliases
    held = aliases.current("late", alias)
    if held != to:
        aliases.move("late", alias, to, expected=held, actor=workspace.actor, reason=reason)


def _watched(
    workspace: Workspace, champion: int, tried: int, load: _Load, number: int, show: Callable[[str, int, int], None]
) -> Rollout:
    """Wait until a canary is one no more. Raises Unavailable when that takes too long."""
    began, aliases = time.monotonic(), workspace.catalog.aliases
    while aliases.current("late", CANARY) is not None:
        if time.monotonic() - began > LONGEST or load.failed:
            raise Unavailable(f"late@{tried} is still on trial after {time.monotonic() - began:.0f} s.")
        show(f"{len(load.took):,} requests", number, 2)
        time.sleep(0.1)
    (*_, last) = [c for c in aliases.history("late", CANARY) if c.version is None]
    ended, _, reason = last.reason.partition(": ")
    return Rollout(champion, tried, ended, reason, round(time.monotonic() - began, 1))


class _Load:
    """Clients that ask about flights without a pause, and tell what was true a moment later."""

    def __init__(self, port: int, rows: Sequence[tuple[dict[str, Any], bool]], at: str) -> None:
        self._client = Client([f"http://127.0.0.1:{port}"], timeout=10, hedge=False)
        self._rows, self._at = rows, at
        self._answered: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self.over = threading.Event()
        self.took: list[float] = []
        self.failed: list[str] = []
        self.labels = 0
        self.seconds = 0.0
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._tell, daemon=True))

    def __enter__(self) -> _Load:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.seconds = time.monotonic() - self._began
        for thread in self._threads:
            thread.join(30)
        self._client.close()

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        while not self.over.is_set():
            row, late = chance.choice(self._rows)
            began = time.perf_counter_ns()
            try:
                answer = self._client.predict("late", row, at=self._at)
            except FivefoldError as e:
                self.failed.append(str(e))
                continue
            self.took.append((time.perf_counter_ns() - began) / 1e6)
            self._answered.put((answer["id"], late))

    def _tell(self) -> None:
        waiting: dict[str, bool] = {}
        while not self.over.is_set():
            # what was answered is in the log a moment later, and the log knows which version it was
            time.sleep(0.2)
            try:
                if waiting:
                    told = self._client.feedback(waiting, timeout=30)
                    self.labels += told["taken"]
            except FivefoldError as e:
                self.failed.append(str(e))
            waiting = {}
            while not self._answered.empty() and len(waiting) < 5000:
                id, late = self._answered.get()
                waiting[id] = late


def _feed(sender: Sender, events: Sequence[dict[str, Any]], over: threading.Event) -> None:
    """Send events a few at a time, and all of them in the end."""
    for start in range(0, len(events), 10):
        for error in sender.send(events[start : start + 10]):
            if error is not None:
                raise error
        over.wait(0.1)


@contextmanager
def _streaming(workspace: Workspace) -> Iterator[None]:
    """`fivefold stream`, as a process of its own; at the end it has applied all that was sent."""
    words = ["stream", "takeoffs", "--project", str(workspace.root), "--env", workspace.env.name]
    command = [sys.executable, "-m", "fivefold.cli.main", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
    subprocess.run([*command, "--once"], stdout=subprocess.DEVNULL, check=True)


def _rows(workspace: Workspace, model: Model) -> list[tuple[dict[str, Any], bool]]:
    """Flights that no version learned from: what is asked of each, and whether it was late."""
    source = model.target.source
    keys = [k for view, _ in chosen(model.features).values() for k in view.entity.key]
    asked = dict.fromkeys([*keys, *(r.name for r in model.features if isinstance(r, Request))])
    files = workspace.snapshot("flights").files(workspace.places.tables)
    with workspace.database() as connection:
        table = connection.sql(
            f"select {', '.join(map(ident, asked))}, {model.target.label} as was_late from {parquet(files)} "
            f"where arr_delay is not null and departed_at >= timestamp '2013-11-01' order by flight_id "
            f"limit {ASKED_ROWS}"
        ).to_arrow_table()
    assert source.time is not None
    return [({c: row[c] for c in asked}, bool(row["was_late"])) for row in table.to_pylist()]
