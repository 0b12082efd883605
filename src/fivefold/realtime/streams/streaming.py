"""A process that works on a project's streams until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec

from fivefold.core.errors import Conflict, NotFound, Unavailable
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.features.stream import Fed, fed
from fivefold.ports.online import OnlineStore
from fivefold.ports.streams import Broker
from fivefold.realtime.endpoints.endpoint import POLL_SECONDS, Live
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.streams.archiving import archive
from fivefold.realtime.streams.ownership import Member
from fivefold.realtime.streams.scoring import Scored, Scorer, scored_of
from fivefold.realtime.streams.worker import PartitionWorker
from fivefold.workspace import Workspace
from fivefold.workspace.events import Standing, standing_of, without_past
from fivefold.workspace.wanted import wanted_views

BALANCE_SECONDS = 1.0
COUNT_SECONDS = 10.0
"""How often it is looked whether the topic got more partitions."""
ARCHIVE_SECONDS = 60.0
AGAIN_SECONDS = 1.0
WAIT_SECONDS = 0.05


class Report(msgspec.Struct, frozen=True):
    """How far a stream is: by partition where it stands, and about how many records wait in all."""

    stream: str
    standings: Mapping[int, Standing]
    waiting: int


class Answered(msgspec.Struct, frozen=True):
    """How far an endpoint is with the stream it answers, and about how many records wait in all."""

    endpoint: str
    partitions: Mapping[int, Scored]
    waiting: int


class Streaming:
    """The streams of a workspace, and the endpoints that answer one, as one worker of their groups: a context.

    `step` does one round and says how many records it read; `run` goes on until it is stopped.
    """

    def __init__(self, workspace: Workspace, names: Sequence[str] = (), *, member: str = "") -> None:
        self._workspace = workspace
        every = [s for s in workspace.project.of(Stream.kind) if isinstance(s, Stream)]
        for name in names:
            workspace.project.get(Stream.kind, name)
        answering = [e for e in workspace.project.of(Endpoint.kind) if isinstance(e, Endpoint) and e.on is not None]
        # what an endpoint answers, or is answered with, need not feed features
        used = {s.name for e in answering for s in (e.on, e.into) if s is not None}
        chosen = [s for s in every if s.name in names or (not names and (s.history is not None or s.name not in used))]
        answering = [e for e in answering if not names or (e.on is not None and e.on.name in names)]
        if not chosen and not answering:
            raise NotFound(
                "the project declares no stream.", hint="Add ff.Stream(NAME, schema=…, time=…) to project.py."
            )
        self._store = workspace.online()
        fed_by = [s for s in chosen if s.history is not None or s.name not in used]
        self._groups = [_Features(workspace, s, self._store, views_of(workspace, s), member) for s in fed_by]
        self._answers = [_Answers(workspace, e, self._store, member) for e in answering]

    def __enter__(self) -> Streaming:
        return self

    def __exit__(self, *_: object) -> None:
        for group in (*self._groups, *self._answers):
            group.close()
        self._store.close()

    def step(self, wait: float = 0.0) -> int:
        """One batch of every partition that is ours; returns how many records there were."""
        return sum(group.step(wait) for group in (*self._groups, *self._answers))

    def archive(self, wait: bool = True) -> int:
        """Archive what was applied so far; returns how many events there were. See `archiving.archive`."""
        return sum(group.archive(wait) for group in self._groups)

    def reports(self) -> list[Report]:
        """How far each stream is."""
        return [group.report() for group in self._groups]

    def waiting(self) -> int:
        """About how many records wait in all."""
        return sum(r.waiting for r in self.reports()) + sum(a.waiting for a in self.answered())

    def answered(self) -> list[Answered]:
        """How far each endpoint is that answers a stream."""
        return [group.report() for group in self._answers]

    def run(self, over: threading.Event, told: Callable[[str], None] = lambda text: None) -> None:
        """Work until `over` is set. A broker or store that does not answer is tried again; `told` hears of it."""
        archived = time.monotonic()
        while not over.is_set():
            try:
                self.step(WAIT_SECONDS)
                if time.monotonic() - archived > ARCHIVE_SECONDS:
                    self.archive(wait=False)
                    archived = time.monotonic()
            except (Unavailable, Conflict) as e:
                told(str(e))
                over.wait(AGAIN_SECONDS)

    def drain(self) -> int:
        """Work until nothing waits; returns how many records there were."""
        total = 0
        while read := self.step():
            total += read
        return total


def views_of(workspace: Workspace, stream: Stream) -> list[Fed]:
    """The views that a stream feeds, under every meaning that is in use."""
    return [
        fed(one.name, one.view, one.schemas, one.scales, partial(without_past, workspace, stream))
        for one in wanted_views(workspace)
        if isinstance(one.view.source, Stream) and one.view.source.name == stream.name
    ]


class _Worker(Protocol):
    """What works on one partition."""

    def step(self, wait: float = 0.0) -> int: ...

    def refresh(self) -> None: ...

    def outdated(self) -> bool: ...


class _Group:
    """Those who share the partitions of one broker: the ones that are ours, each with what works on it."""

    def __init__(
        self, workspace: Workspace, name: str, broker: Broker, make: Callable[[int], _Worker], member: str
    ) -> None:
        self._broker, self._make = broker, make
        self.partitions = broker.partitions()
        self._member = Member(workspace.catalog.leases, name, self.partitions, member)
        self._workers: dict[int, _Worker] = {}
        self._balanced, self._counted = 0.0, time.monotonic()

    def step(self, wait: float) -> int:
        now = time.monotonic()
        if now - self._balanced >= BALANCE_SECONDS or not self._member.owned:
            self._balanced = now
            self._balance()
        read = 0
        for number, partition in enumerate(list(self._workers)):
            # only the last is waited for, so that one that is idle does not hold the others up
            last = number == len(self._workers) - 1
            try:
                read += step_through(self._workers[partition], wait if last and not read else 0.0)
            except Conflict:
                # somebody else is at it: go on from what is there, if it is still ours
                self._workers.pop(partition)
                self._balanced = 0.0
        if not self._workers:
            time.sleep(wait)
        return read

    def close(self) -> None:
        self._member.leave()
        self._broker.close()

    def _balance(self) -> None:
        if time.monotonic() - self._counted >= COUNT_SECONDS:
            self.partitions = self._member.partitions = max(self.partitions, self._broker.partitions())
            self._counted = time.monotonic()
        owned = self._member.balance(lambda partition: self._workers.pop(partition, None))
        for partition in set(self._workers) - set(owned):
            self._workers.pop(partition)
        for partition in owned:
            try:
                self._bring_up(partition)
            except Conflict:
                # somebody else brings it up to date as well; the next round finds what they made
                self._workers.pop(partition, None)
                self._balanced = 0.0

    def _bring_up(self, partition: int) -> None:
        worker = self._workers.get(partition)
        if worker is None:
            self._workers[partition] = self._make(partition)
        elif worker.outdated():
            worker.refresh()


def step_through(worker: _Worker, wait: float = 0.0) -> int:
    """One step, beginning anew from what is there when another worker was faster."""
    try:
        return worker.step(wait)
    except Conflict:
        worker.refresh()
        return worker.step(wait)


class _Features(_Group):
    """A stream into the features that it feeds."""

    def __init__(
        self, workspace: Workspace, stream: Stream, store: OnlineStore, views: Sequence[Fed], member: str
    ) -> None:
        self._workspace, self._stream, self._store, self._views = workspace, stream, store, views
        super().__init__(workspace, stream.name, workspace.broker(stream), self._worker, member)

    def archive(self, wait: bool) -> int:
        return archive(self._workspace, self._stream, self._store, self.partitions, wait=wait)

    def report(self) -> Report:
        found = {p: standing_of(self._store, self._stream.name, p) or Standing() for p in range(self.partitions)}
        waiting = sum(max(0, self._broker.bounds(p)[1] - s.applied) for p, s in found.items())
        return Report(self._stream.name, found, waiting)

    def _worker(self, partition: int) -> PartitionWorker:
        return PartitionWorker(
            self._workspace,
            self._stream,
            partition,
            self._broker,
            self._store,
            self._views,
            letters_for=self._workspace.env.letters_for,
        )


class _Answers(_Group):
    """A stream into another one, by an endpoint."""

    def __init__(self, workspace: Workspace, endpoint: Endpoint, store: OnlineStore, member: str) -> None:
        assert endpoint.on is not None
        assert endpoint.into is not None
        self._endpoint, self._store = endpoint, store
        self._log = PredictionLog(workspace.state)
        self._live = Live(workspace, endpoint, store, self._log)
        self._looked = time.monotonic()
        self._target = workspace.broker(endpoint.into)
        name = f"{endpoint.name}#{endpoint.on.name}"
        super().__init__(workspace, name, workspace.broker(endpoint.on), self._worker, member)

    def step(self, wait: float) -> int:
        if time.monotonic() - self._looked > POLL_SECONDS:
            self._live.refresh()
            self._looked = time.monotonic()
        return super().step(wait)

    def report(self) -> Answered:
        found = {p: scored_of(self._store, self._endpoint, p) for p in range(self.partitions)}
        waiting = sum(max(0, self._broker.bounds(p)[1] - s.applied) for p, s in found.items())
        return Answered(self._endpoint.name, found, waiting)

    def close(self) -> None:
        super().close()
        self._target.close()
        self._log.close()

    def _worker(self, partition: int) -> Scorer:
        return Scorer(self._endpoint, partition, self._broker, self._target, self._store, self._live)
