"""Partitions that a topic gets while its stream is in use feed the same features, without anything made anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stream_checks
import stream_project as sp

import fivefold.mlops.materialise
import fivefold.realtime.streams.streaming
from fivefold.backends.log import streams as log
from fivefold.core.sources import Stream
from fivefold.features.state.mark import Mark, read_mark
from fivefold.mlops.materialise import materialise_views
from fivefold.ports.online import MARK
from fivefold.realtime.streams.streaming import Streaming
from fivefold.workspace import Workspace

END = sp.START + 400 * sp.MINUTE


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fivefold.realtime.streams.streaming, "BALANCE_SECONDS", 0.0)
    monkeypatch.setattr(fivefold.realtime.streams.streaming, "COUNT_SECONDS", 0.0)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workspace]:
    """A project whose past is materialised, with one partition."""
    sp.make(tmp_path, sp.events(1, 60))
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        yield workspace


def grow(workspace: Workspace, count: int) -> None:
    """Give the topic of the embedded log more partitions."""
    stream = workspace.project.get(Stream.kind, "sales")
    assert isinstance(stream, Stream)
    broker: Any = workspace.broker(stream)

    def put(env: Any) -> None:
        with env.begin(write=True) as transaction:
            transaction.put(log._ABOUT, b"%s %d" % (log._FORMAT, count))

    broker._do(put)
    assert broker.partitions() == count
    broker.close()


def marks(workspace: Workspace) -> list[Mark]:
    store = workspace.online()
    raws = [store.get([(space, MARK)])[0] for space in store.spaces() if "@" in space and "~" not in space]
    store.close()
    return [read_mark(raw) for raw in raws if raw is not None]


def test_events_of_a_partition_that_was_added_are_looked_up(shop: Workspace) -> None:
    rows = sp.events(2, 200, sp.START + 30 * sp.MINUTE, people=12)
    with Streaming(shop) as streaming:
        sp.send(shop, rows[:80])
        assert streaming.drain() == 80
        grow(shop, 3)
        sp.send(shop, rows[80:])
        assert streaming.drain() == 120
        (report,) = streaming.reports()
        assert [report.standings[p].read > 0 for p in range(3)] == [True] * 3
        streaming.archive()
    assert {tuple(sorted(mark.cut)) for mark in marks(shop)} == {(0, 1, 2)}
    stream_checks.assert_no_skew(shop, [END, END + 90 * sp.MINUTE])
    # another generation begins where these events are in its past
    materialise_views(shop, [], sp.START + sp.MINUTE)
    stream_checks.assert_no_skew(shop, [END])


def test_one_that_is_added_while_a_past_is_made_is_listed_in_the_new_one(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sp.events(2, 200, sp.START + 30 * sp.MINUTE, people=12)
    inner, grown = fivefold.mlops.materialise._catch_up, list[bool]()
    with Streaming(shop) as streaming:
        sp.send(shop, rows[:80])
        streaming.drain()

        def and_grow(*given: Any) -> None:
            inner(*given)
            if not grown:
                grown.append(True)
                grow(shop, 3)
                sp.send(shop, rows[80:])
                streaming.drain()

        monkeypatch.setattr(fivefold.mlops.materialise, "_catch_up", and_grow)
        materialise_views(shop, [], sp.START + sp.MINUTE)
        assert {tuple(sorted(mark.cut)) for mark in marks(shop)} == {(0, 1, 2)}
        streaming.drain()
        streaming.archive()
    stream_checks.assert_no_skew(shop, [END])


def test_partitions_added_to_a_kafka_topic_are_found(kafka_server: Any, tmp_path: Path) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions

    topic = f"grows-{os.getpid()}-{time.time_ns()}"
    sp.make(tmp_path, sp.events(1, 40), f'[default]\nstreams.sales = "kafka://{kafka_server.address}/{topic}"\n')
    rows = sp.events(2, 150, sp.START + 30 * sp.MINUTE, people=12)
    with sp.opened(tmp_path) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        with Streaming(workspace) as streaming:
            sp.send(workspace, rows[:50])
            wait_for(streaming, 50)
            admin = AdminClient({"bootstrap.servers": kafka_server.address})
            admin.create_partitions([NewPartitions(topic, 3)])[topic].result(10)
            sp.send(workspace, rows[50:])
            wait_for(streaming, 150)
            assert len([s for s in streaming.reports()[0].standings.values() if s.read]) > 1
            streaming.archive()
        stream_checks.assert_no_skew(workspace, [END])


def wait_for(streaming: Streaming, count: int) -> None:
    until = time.monotonic() + 60
    while sum(s.read for s in streaming.reports()[0].standings.values()) < count:
        assert time.monotonic() < until
        streaming.step(0.2)
