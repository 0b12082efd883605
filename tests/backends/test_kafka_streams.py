from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from fivefold.backends import connect
from fivefold.core.errors import Conflict, FivefoldError, Invalid, Unavailable
from fivefold.ports.streams import Broker, Message, Record


@pytest.fixture
def own_server(kafka_server: Any, tmp_path: Path) -> Iterator[Any]:
    """A broker that this test may stop."""
    server = type(kafka_server)(tmp_path)
    server.start()
    yield server
    server.stop()


def topic(server: Any, query: str = "", **options: Any) -> Broker:
    return connect(Broker, f"kafka://{server.address}/t{uuid.uuid4().hex}{query}", **options)


def soon(work: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What it gives when it does not fail any more."""
    until = time.monotonic() + seconds
    while True:
        try:
            return work()
        except FivefoldError:
            if time.monotonic() > until:
                raise


def test_a_broker_that_goes_and_comes_back_loses_and_doubles_nothing(own_server: Any) -> None:
    broker = topic(own_server, "?partitions=2", timeout=2)
    sent = [Message(b"%d" % i, b"k%d" % (i % 3)) for i in range(300)]
    broker.append(sent[:200], 0)
    found: list[Record] = broker.read(0, -1, 50, wait=10)
    # what it acknowledged is on its disk a moment later
    time.sleep(0.3)
    own_server.stop()
    for asked in (lambda: broker.append([Message(b"lost")], 0), lambda: broker.bounds(1), lambda: broker.read(1, -1, 1)):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="Kafka at 127.0.0.1"):
            asked()
        assert time.monotonic() - began < 15
    own_server.start()
    soon(lambda: broker.append(sent[200:], 0))
    while len(found) < 300:
        after = found[-1].offset
        more = soon(lambda after=after: broker.read(0, after, 64, wait=5))
        assert more
        found += more
    assert [(r.value, r.key) for r in found] == [(m.value, m.key) for m in sent]
    assert broker.read(0, found[-1].offset, 10) == []
    again = topic(own_server)
    again.close()
    broker.close()


def test_a_server_that_is_not_there_is_unavailable_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="Look whether the brokers are up"):
        connect(Broker, "kafka://127.0.0.1:1/t", timeout="1")
    assert time.monotonic() - began < 15


def test_only_what_was_committed_is_read(kafka_server: Any) -> None:
    broker = topic(kafka_server)
    name = broker._topic  # type: ignore[attr-defined]
    other = Producer({"bootstrap.servers": kafka_server.address, "transactional.id": name})
    other.init_transactions()
    broker.append([Message(b"1")])
    (first,) = broker.read(0, -1, 10, wait=10)
    other.begin_transaction()
    other.produce(name, b"2")
    other.flush()
    assert broker.read(0, first.offset, 10) == []
    assert broker.read(0, first.offset, 10, wait=0.1) == []
    other.commit_transaction()
    (second,) = broker.read(0, first.offset, 10, wait=10)
    other.begin_transaction()
    other.produce(name, b"aborted")
    other.flush()
    other.abort_transaction()
    # behind it are only marks of transactions now, which are no records
    for _ in range(2):
        assert broker.read(0, second.offset, 10) == []
    broker.append([Message(b"3")])
    assert [r.value for r in broker.read(0, second.offset, 10, wait=10)] == [b"3"]
    reader = connect(Broker, f"kafka://{kafka_server.address}", topic=name)
    values: list[bytes] = []
    after = -1
    while some := reader.read(0, after, 1):
        values.append(some[0].value)
        after = some[0].offset
    assert values == [b"1", b"2", b"3"]
    reader.close()
    broker.close()


def test_tools_of_kafka_see_the_lag(kafka_server: Any) -> None:
    broker = topic(kafka_server, "?partitions=2")
    name = broker._topic  # type: ignore[attr-defined]
    broker.append([Message(b"%d" % i) for i in range(10)], 1)
    found = broker.read(1, -1, 10, wait=10)
    broker.done(1, found[5].offset)
    broker.close()
    look = Consumer({"bootstrap.servers": kafka_server.address, "group.id": f"fivefold-{name}"})
    until = time.monotonic() + 20
    committed = -1
    while committed != found[5].offset + 1 and time.monotonic() < until:
        (there,) = look.committed([TopicPartition(name, 1)], timeout=10)
        committed = there.offset
    look.close()
    assert committed == found[5].offset + 1


def test_records_that_retention_removed_are_not_passed_over(kafka_server: Any) -> None:
    broker = topic(kafka_server)
    name = broker._topic  # type: ignore[attr-defined]
    broker.append([Message(b"%d" % i) for i in range(20)])
    admin = AdminClient({"bootstrap.servers": kafka_server.address})
    for done in admin.delete_records([TopicPartition(name, 0, 15)]).values():
        done.result(10)
    assert broker.bounds(0) == (15, 19)
    with pytest.raises(Conflict, match="the records 4 to 14 are gone before they were read"):
        broker.read(0, 3, 10, wait=0.2)
    assert [r.value for r in broker.read(0, -1, 2, wait=10)][:1] == [b"15"]
    assert [r.value for r in broker.read(0, 14, 1, wait=10)] == [b"15"]
    broker.close()


def test_equal_keys_go_where_the_producers_of_java_send_them(kafka_server: Any) -> None:
    broker = topic(kafka_server, "?partitions=8")
    # murmur2 of these, as Kafka's own tests have it: 21 -> -973932308, foobar -> -790332482
    broker.append([Message(b"", b"21"), Message(b"", b"foobar")])
    for key, hashed in ((b"21", -973932308), (b"foobar", -790332482)):
        assert key in [r.key for r in broker.read((hashed & 0x7FFFFFFF) % 8, -1, 10, wait=10)]
    broker.close()


def test_a_record_that_is_too_large_is_invalid(kafka_server: Any) -> None:
    broker = topic(kafka_server)
    with pytest.raises(Invalid, match=r"a record is too large .* raise message\.max\.bytes"):
        broker.append([Message(b"x" * 2_000_000)])
    broker.append([Message(b"small")])
    assert [r.value for r in broker.read(0, -1, 10, wait=10)] == [b"small"]
    broker.close()


def test_options_are_settings_of_librdkafka(kafka_server: Any) -> None:
    broker = topic(kafka_server, compression_type="zstd", **{"socket.keepalive.enable": "true"})
    broker.append([Message(b"x" * 1000)] * 10)
    assert len(broker.read(0, -1, 10, wait=10)) >= 1
    broker.close()


@pytest.mark.parametrize(("url", "options", "said"), [
    ("kafka:", {}, "names no servers"), ("kafka://u:secret@h:1/t", {}, "sasl_username"), ("kafka://h:1", {}, "is not a name of a topic"),
    ("kafka://h:1/t?retention=1d", {}, "no setting 'retention'"), ("kafka://h:1/t", {"acks": "1"}, "the setting 'acks' is fixed"),
    ("kafka://h:1/t", {"isolation_level": "x"}, "is fixed"), ("kafka://h:1/t", {"timeout": "soon"}, "'soon' is not a number of seconds"),
    ("kafka://h:1/t", {"securty_protocol": "x"}, 'No such configuration property: "securty.protocol"'),
])
def test_wrong_wiring_is_invalid(url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as e:
        connect(Broker, url, **options)
    assert said in str(e.value)
    assert "secret" not in str(e.value)
