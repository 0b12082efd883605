from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from fivefold.backends import connect
from fivefold.backends.log.streams import Log
from fivefold.backends.pubsub.envelope import arrived
from fivefold.core.errors import Conflict, Invalid, Unavailable
from fivefold.ports.streams import Broker, Message


@pytest.fixture
def clients(pubsub_emulator: str) -> Iterator[tuple[Any, Any]]:
    """Google's own clients."""
    channel = grpc.insecure_channel(pubsub_emulator)
    yield (
        PublisherClient(transport=PublisherGrpcTransport(channel=channel)),
        SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)),
    )
    channel.close()


def topic(emulator: str, path: Path, name: str, query: str = "") -> Broker:
    return connect(Broker, f"pubsub://project/{name}?inbox={path}{query}", emulator=emulator)


def test_what_is_delivered_again_is_read_once(pubsub_emulator: str, clients: tuple[Any, Any], tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex}"
    subscription = f"projects/project/subscriptions/fivefold-{name}"
    broker = topic(pubsub_emulator, tmp_path, name)
    broker.append([Message(b"%d" % i, b"k") for i in range(20)])
    # a process that dies between keeping messages and saying so
    answer = clients[1].pull(subscription=subscription, max_messages=15, timeout=10)
    came = answer.received_messages
    assert came
    inbox = Log(f"log:{tmp_path}", topic=f"project.fivefold-{name}")
    inbox.take([arrived(m.message.message_id, m.message.data, m.message.attributes, m.message.ordering_key, 1) for m in came])
    inbox.close()
    clients[1].modify_ack_deadline(
        subscription=subscription, ack_ids=[m.ack_id for m in came], ack_deadline_seconds=0, timeout=10)
    found = broker.read(0, -1, 100, wait=10)
    until = time.monotonic() + 20
    while len(found) < 20 and time.monotonic() < until:
        found += broker.read(0, found[-1].offset, 100, wait=1)
    assert [int(r.value) for r in found] == list(range(20))
    # and the others were said to be kept: nothing is delivered any more
    assert broker.read(0, found[-1].offset, 100, wait=0.5) == []
    broker.close()


def test_messages_of_others_are_read_and_ours_by_others(
    pubsub_emulator: str, clients: tuple[Any, Any], tmp_path: Path
) -> None:
    name = f"t{uuid.uuid4().hex}"
    broker = topic(pubsub_emulator, tmp_path, name)
    place = f"projects/project/topics/{name}"
    other = f"projects/project/subscriptions/other-{name}"
    clients[1].create_subscription(name=other, topic=place, timeout=10)
    theirs = {"data": b"theirs", "attributes": {"origin": "élsewhere"}, "ordering_key": "k"}
    clients[0].publish(topic=place, messages=[theirs], timeout=10)
    (record,) = broker.read(0, -1, 10, wait=10)
    assert Message(record.value, record.key, record.headers) == Message(b"theirs", b"k", (("origin", "élsewhere".encode()),))
    broker.append([Message(b"ours", b"k", (("origin", b"here"),))])
    seen: list[Any] = []
    until = time.monotonic() + 20
    while len(seen) < 2 and time.monotonic() < until:
        answer = clients[1].pull(subscription=other, max_messages=10, timeout=10)
        seen += [m.message for m in answer.received_messages]
        clients[1].acknowledge(subscription=other, ack_ids=[m.ack_id for m in answer.received_messages], timeout=10)
    assert [(m.data, dict(m.attributes), m.ordering_key) for m in seen if m.data == b"ours"] == [
        (b"ours", {"origin": "here"}, "k")]
    broker.close()


def test_what_was_read_stays_readable_when_it_is_opened_again(pubsub_emulator: str, tmp_path: Path) -> None:
    name = f"t{uuid.uuid4().hex}"
    broker = topic(pubsub_emulator, tmp_path, name)
    broker.append([Message(b"%d" % i, b"k") for i in range(5)])
    first = broker.read(0, -1, 100, wait=10)
    broker.close()
    again = topic(pubsub_emulator, tmp_path, name)
    assert again.read(0, -1, len(first)) == first
    again.close()


def test_a_subscription_that_cannot_keep_the_promises_is_a_conflict(
    pubsub_emulator: str, clients: tuple[Any, Any], tmp_path: Path
) -> None:
    name, place = f"t{uuid.uuid4().hex}", "projects/project/subscriptions/"
    clients[0].create_topic(name=f"projects/project/topics/{name}", timeout=10)
    clients[1].create_subscription(name=f"{place}plain-{name}", topic=f"projects/project/topics/{name}", timeout=10)
    with pytest.raises(Conflict, match="does not deliver the messages of a key in order"):
        topic(pubsub_emulator, tmp_path, name, f"&subscription=plain-{name}")
    topic(pubsub_emulator, tmp_path, name).close()
    with pytest.raises(Conflict, match=f"is a subscription of projects/project/topics/{name}, not of"):
        topic(pubsub_emulator, tmp_path, f"other-{name}", f"&subscription=fivefold-{name}")


def test_a_server_that_is_away_is_unavailable_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="Pub/Sub, projects/project/topics/topic"):
        connect(Broker, f"pubsub://project/topic?inbox={tmp_path}", emulator="127.0.0.1:1", timeout="1")
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(("url", "said"), [
    ("pubsub:///topic?inbox=/x", "names no project"), ("pubsub://project/topic", "or no inbox"),
    ("pubsub://project/topic?inbx=/x", "Did you mean 'inbox'"), ("pubsub://project?inbox=/x", "is not a name of a topic"),
])
def test_wrong_wiring_is_invalid(url: str, said: str) -> None:
    with pytest.raises(Invalid) as e:
        connect(Broker, url)
    assert said in str(e.value)
