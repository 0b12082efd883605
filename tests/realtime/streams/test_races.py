"""What others do in between: archiving, applying, materialising, and stores that lost their newest commits."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stream_checks
import stream_project as sp

import fivefold.mlops.apply
import fivefold.mlops.materialise
import fivefold.realtime.streams.archiving
import fivefold.realtime.streams.worker
import fivefold.workspace.events
from fivefold.backends.lmdb.online import Lmdb
from fivefold.core.errors import Conflict, Unavailable
from fivefold.core.sources import Stream
from fivefold.data.archive import archived
from fivefold.flow.steps import worker_name
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.streams.archiving import archive
from fivefold.realtime.streams.intake import Intake
from fivefold.realtime.streams.streaming import Streaming, step_through, views_of
from fivefold.realtime.streams.worker import PartitionWorker
from fivefold.workspace import Workspace
from fivefold.workspace.events import Standing

END = sp.START + 400 * sp.MINUTE


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workspace]:
    """A project whose past is materialised, with nothing on the stream yet."""
    sp.make(tmp_path, sp.events(1, 60), '[default]\nstream = "log:.fivefold/streams?partitions=2"\n')
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        yield workspace


def work(workspace: Workspace) -> int:
    with Streaming(workspace) as streaming:
        return streaming.drain()


def archive_now(workspace: Workspace) -> None:
    stream = workspace.project.get(Stream.kind, "sales")
    assert isinstance(stream, Stream)
    store = workspace.online()
    try:
        archive(workspace, stream, store, 2)
    finally:
        store.close()


def once(before: Callable[[], object], inner: Any, after: bool = False) -> Any:
    """A function that does something else the first time, before its own work or after it."""
    done: list[bool] = []

    def call(*given: Any, **more: Any) -> Any:
        first = not done
        done.append(True)
        if first and not after:
            before()
        out = inner(*given, **more)
        if first and after:
            before()
        return out

    return call


def checked(workspace: Workspace) -> None:
    archive_now(workspace)
    stream_checks.assert_no_skew(workspace, [END, END + 90 * sp.MINUTE])


def test_what_is_archived_while_a_new_generation_catches_up_is_not_lost(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sp.send(shop, sp.events(2, 100, sp.START + 30 * sp.MINUTE))
    work(shop)
    inner = fivefold.workspace.events.archived_events

    def and_then_archive(*given: Any) -> Iterator[Any]:
        yield from inner(*given)
        monkeypatch.setattr(fivefold.workspace.events, "archived_events", inner)
        archive_now(shop)

    monkeypatch.setattr(fivefold.workspace.events, "archived_events", and_then_archive)
    materialise_views(shop, [], sp.START + sp.MINUTE)
    checked(shop)


def test_what_is_archived_while_a_past_is_made_counts_once(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sp.send(shop, sp.events(2, 100, sp.START + 30 * sp.MINUTE))
    work(shop)
    monkeypatch.setattr(fivefold.mlops.materialise, "_cut",
                        once(lambda: archive_now(shop), fivefold.mlops.materialise._cut, after=True))
    materialise_views(shop, [], sp.START + sp.MINUTE)
    checked(shop)


@pytest.mark.parametrize("first", ["archive", "apply"])
def test_files_and_events_that_come_into_a_history_at_once_are_both_in_it(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    sp.send(shop, sp.events(2, 100, sp.START + 30 * sp.MINUTE))
    work(shop)
    more = sp.events(3, 20)
    sp.write_past(shop.root / "data" / "past" / "two.csv", more)
    if first == "archive":
        room, other, do = fivefold.mlops.apply, archive_now, sp.applied
    else:
        room, other, do = fivefold.realtime.streams.archiving, sp.applied, archive_now  # type: ignore[assignment]
    monkeypatch.setattr(room, "with_archives", once(lambda: other(shop), room.with_archives, after=True))
    do(shop)
    held = shop.snapshot("past")
    kept = shop.find_snapshot("sales")
    assert held.rows == 60 + 20 + (kept.rows if kept else 0)
    assert kept is not None
    assert archived(held, "sales") == archived(kept, "sales")


def test_two_that_archive_at_once_record_one_archive(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sp.send(shop, sp.events(2, 50, sp.START + 30 * sp.MINUTE))
    work(shop)

    def other() -> None:
        # the lease of the first is over, though it does not know it
        shop.catalog.leases.release("archive:sales", worker_name())
        sp.send(shop, sp.events(3, 50, sp.START + 60 * sp.MINUTE))
        work(shop)
        archive_now(shop)

    monkeypatch.setattr(fivefold.realtime.streams.archiving, "add_to_archive",
                        once(other, fivefold.realtime.streams.archiving.add_to_archive, after=True))
    with pytest.raises(Conflict):
        archive_now(shop)
    kept = shop.find_snapshot("sales")
    assert kept is not None
    assert kept.rows == sum(s.on_time + s.late for s in _standings(shop))


def test_a_worker_whose_partition_another_one_brings_up_to_date_goes_on(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sp.send(shop, sp.events(2, 60, sp.START + 30 * sp.MINUTE))
    work(shop)
    materialise_views(shop, [], sp.START + sp.MINUTE)
    sp.send(shop, sp.events(3, 60, sp.START + 60 * sp.MINUTE))

    def taken() -> None:
        raise Conflict("somebody else was faster.")

    with Streaming(shop) as streaming:
        monkeypatch.setattr(fivefold.realtime.streams.worker.PartitionWorker, "refresh",
                            once(taken, fivefold.realtime.streams.worker.PartitionWorker.refresh))
        streaming.step()
        streaming.drain()
        assert streaming.reports()[0].waiting == 0
    checked(shop)


def test_draining_goes_on_after_archiving(shop: Workspace) -> None:
    with Streaming(shop) as streaming:
        for n in range(3):
            sp.send(shop, sp.events(2 + n, 30, sp.START + (60 + 30 * n) * sp.MINUTE))
            assert streaming.drain() == 30
            streaming.archive()
    checked(shop)


def test_a_store_that_lost_its_newest_commits_is_given_them_again(shop: Workspace) -> None:
    online = shop.root / ".fivefold" / "online"
    sp.send(shop, sp.events(2, 60, sp.START + 30 * sp.MINUTE))
    with Streaming(shop) as streaming:
        streaming.drain()
    shutil.copytree(online, shop.root / "older")
    sp.send(shop, sp.events(3, 60, sp.START + 60 * sp.MINUTE))
    work(shop)
    archive_now(shop)
    shutil.rmtree(online)
    shutil.move(shop.root / "older", online)
    sp.send(shop, sp.events(4, 60, sp.START + 90 * sp.MINUTE))
    # its past holds more of the stream than the store has come to
    materialise_views(shop, [], sp.START + sp.MINUTE)
    work(shop)
    checked(shop)
    kept = shop.find_snapshot("sales")
    assert kept is not None
    assert kept.rows == sum(s.on_time + s.late for s in _standings(shop))


def test_a_store_that_is_lost_goes_on_from_the_archive(shop: Workspace) -> None:
    for n in range(2):
        sp.send(shop, sp.events(2 + n, 60, sp.START + (30 + 30 * n) * sp.MINUTE))
        work(shop)
        if not n:
            archive_now(shop)
    shutil.rmtree(shop.root / ".fivefold" / "online")
    materialise_views(shop, [], sp.START)
    # what is known by its id in the archive is a duplicate still
    sp.send(shop, [*sp.events(2, 60, sp.START + 30 * sp.MINUTE)[-20:], *sp.events(4, 30, sp.START + 90 * sp.MINUTE)])
    work(shop)
    checked(shop)


def _standings(workspace: Workspace) -> list[Any]:
    with Streaming(workspace) as streaming:
        return list(streaming.reports()[0].standings.values())


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_take_turns_at_a_partition_know_each_other_s_ids(shop: Workspace, seed: int) -> None:
    chance = random.Random(seed)
    stream = shop.project.get(Stream.kind, "sales")
    assert isinstance(stream, Stream)
    broker, store = shop.broker(stream), shop.online()
    workers = [[PartitionWorker(shop, stream, p, broker, store, views_of(shop, stream), batch=25) for p in range(2)]
               for _ in range(3)]
    rows = sp.events(2, 120, sp.START + 30 * sp.MINUTE)
    sent = 0
    while sent < 120 or any(worker.behind() for worker in workers[0]):
        if sent < 120:
            size = chance.randrange(1, 30)
            # what was sent is sent again, some of it at once
            again = chance.sample(rows[max(0, sent - 20) : sent], min(sent, 10))
            sp.send(shop, [*rows[sent : sent + size], *again, *again[:3]])
            sent += size
        elif chance.random() < 0.3:
            archive_now(shop)
        chosen = chance.randrange(3)
        if chance.random() < 0.2:
            workers[chosen] = [PartitionWorker(shop, stream, p, broker, store, views_of(shop, stream), batch=25)
                               for p in range(2)]
        for worker in workers[chosen]:
            step_through(worker)
        for worker in workers[0]:
            worker.refresh()
    broker.close()
    store.close()
    assert [counts(s) for s in _standings(shop)] == as_one_batch(shop)
    assert sum(s.duplicate for s in _standings(shop)) > 20
    checked(shop)


def test_a_commit_that_failed_leaves_ids_as_they_were(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sp.events(2, 60, sp.START + 30 * sp.MINUTE)
    with Streaming(shop) as streaming:
        streaming.step()  # where a partition begins is written down first
        for part, made in ((rows[:30], False), (rows[30:], True)):
            sp.send(shop, [*part, *part[:5]])
            with monkeypatch.context() as patched:
                inner = Lmdb.commit

                def fails(self: Lmdb, writes: Any, made: bool = made, inner: Any = inner) -> None:
                    if made:
                        inner(self, writes)
                    raise Unavailable("the disk is gone.")

                patched.setattr(Lmdb, "commit", fails)
                with pytest.raises(Unavailable):
                    streaming.step()
            sp.send(shop, part[:7])
            streaming.drain()
    assert [counts(s) for s in _standings(shop)] == as_one_batch(shop)
    assert sum(s.duplicate for s in _standings(shop)) > 10
    checked(shop)


class Nothing:
    """An intake that remembers nothing yet."""

    def letters(self, keys: Sequence[bytes]) -> list[bool]:
        return [False] * len(keys)

    def ids(self, stretches: Any, ids: Any) -> Any:
        return np.zeros(len(ids), np.bool_)


def counts(standing: Standing) -> tuple[int, ...]:
    return standing.on_time, standing.late, standing.dead, standing.duplicate


def as_one_batch(workspace: Workspace) -> list[tuple[int, ...]]:
    """By partition, what becomes of all that was sent when it is read at once."""
    stream = workspace.project.get(Stream.kind, "sales")
    assert isinstance(stream, Stream)
    broker = workspace.broker(stream)
    found = [Intake(stream, {}).take(broker.read(p, -1, 10_000), Standing(), Nothing()).standing for p in range(2)]
    broker.close()
    return [counts(standing) for standing in found]
