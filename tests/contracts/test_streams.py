"""Every backend that has a file for Broker keeps its contract, against its real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fivefold.backends import backends_of, connect
from fivefold.ports.streams import Broker
from fivefold.testing import streams


@pytest.fixture(params=backends_of(Broker))
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[streams.Opener]:
    opened: list[Broker] = []
    topic = f"t-{uuid.uuid4().hex}"
    options: dict[str, str] = {}
    query = "?"
    match request.param:
        case "log":
            url = f"log:{tmp_path}"
        case "kafka":
            url = f"kafka://{request.getfixturevalue('kafka_server').address}"
        case "redis":
            url = f"redis://{request.getfixturevalue('redis_server').address}/0"
        case "pubsub":
            options = {"emulator": request.getfixturevalue("pubsub_emulator")}
            url, query = "pubsub://project", f"?inbox={tmp_path}&"
        case other:
            raise AssertionError(f"say here how to open a topic of {other!r}")

    def open(partitions: int | None) -> Broker:
        more = "" if partitions is None else f"partitions={partitions}"
        broker = connect(Broker, url + (query + more).rstrip("?&"), topic=topic, **options)
        opened.append(broker)
        return broker

    yield open
    for broker in opened:
        broker.close()


@pytest.mark.parametrize("check", streams.checks, ids=lambda check: check.__name__)
def test_the_broker_keeps_the_contract(check: Callable[[streams.Opener], None], opener: streams.Opener) -> None:
    check(opener)
