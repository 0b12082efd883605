from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from fivefold.backends import connect
from fivefold.core.errors import Conflict, Invalid, Unavailable
from fivefold.ports.streams import Broker, Message


@pytest.fixture
def own_server(redis_server: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a server with settings of its own, which the test may kill."""
    servers = []

    def start(*settings: str) -> Any:
        server = type(redis_server)(tmp_path, *settings)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


def topic(server: Any, query: str = "", name: str = "", **options: Any) -> Broker:
    address = server if isinstance(server, str) else server.address
    return connect(Broker, f"redis://{address}/0/{name or 't' + uuid.uuid4().hex}{query}", **options)


def client(server: Any) -> Any:
    return redis.Redis("127.0.0.1", server.port)


def test_the_newest_records_stay_and_the_others_go(redis_server: Any) -> None:
    broker = topic(redis_server, "?max_records=100")
    for start in range(0, 1000, 50):
        broker.append([Message(b"%d" % i) for i in range(start, start + 50)])
    oldest, newest = broker.bounds(0)
    # whole blocks of the server are removed, so that some more may stay, and never fewer
    assert newest == 999
    assert 700 <= oldest <= 900
    assert [int(r.value) for r in broker.read(0, -1, 1000)] == list(range(oldest, 1000))
    with pytest.raises(Conflict, match=f"the records 5 to {oldest - 1} are gone before they were read"):
        broker.read(0, 4, 10, wait=0.1)
    broker.close()


def test_what_is_older_than_the_retention_goes_and_nothing_younger(redis_server: Any) -> None:
    broker = topic(redis_server, "?retention=300ms")
    broker.append([Message(b"%d" % i) for i in range(450)])
    assert broker.bounds(0) == (0, 449)
    time.sleep(0.4)
    broker.append([Message(b"450")])
    assert broker.bounds(0) == (450, 450)
    time.sleep(0.1)
    broker.append([Message(b"451")])
    assert [r.value for r in broker.read(0, -1, 10)] == [b"450", b"451"]
    broker.close()


def test_offsets_go_on_when_all_records_are_gone(redis_server: Any) -> None:
    broker = topic(redis_server, name="emptied")
    broker.append([Message(b"0"), Message(b"1")])
    client(redis_server).xtrim("{fivefold:emptied:0}:records", maxlen=0)
    assert broker.bounds(0) == (2, 1)
    assert broker.read(0, -1, 10) == broker.read(0, 1, 10) == []
    with pytest.raises(Conflict, match="the records 1 to 1 are gone"):
        broker.read(0, 0, 10)
    broker.append([Message(b"2")])
    assert [(r.offset, r.value) for r in broker.read(0, 1, 10)] == [(2, b"2")]
    broker.close()


def test_an_append_is_seen_whole_or_not_at_all(redis_server: Any) -> None:
    broker, reader = topic(redis_server, name="whole"), topic(redis_server, name="whole")
    over = threading.Event()

    def send() -> None:
        for _ in range(100):
            broker.append([Message(b"x")] * 7)
        over.set()

    sender = threading.Thread(target=send)
    sender.start()
    seen, after = 0, -1
    while not over.is_set() or seen < 700:
        found = reader.read(0, after, 10_000)
        assert len(found) % 7 == 0
        seen += len(found)
        after = found[-1].offset if found else after
    sender.join()
    assert seen == 700
    broker.close()
    reader.close()


def test_repeated_headers_and_an_empty_key_are_kept(redis_server: Any) -> None:
    broker = topic(redis_server)
    sent = [Message(b"", b"", (("a", b"1"), ("a", b"\xff"))), Message(b"", None), Message(b"", b"k")]
    broker.append(sent)
    assert [Message(r.value, r.key, r.headers) for r in broker.read(0, -1, 10)] == sent
    broker.close()


def test_how_far_it_was_read_is_there_to_be_looked_at(redis_server: Any) -> None:
    broker = topic(redis_server, name="lagging")
    broker.append([Message(b"0"), Message(b"1")])
    broker.done(0, 1)
    assert client(redis_server).get("{fivefold:lagging:0}:done") == b"1"
    broker.close()


def test_a_killed_server_that_comes_back_has_all_it_took(own_server: Callable[..., Any]) -> None:
    server = own_server("--appendonly", "yes", "--appendfsync", "always")
    broker = topic(server, "?partitions=2", timeout=1)
    taken: list[int] = []

    def send() -> None:
        for i in range(100_000):
            try:
                broker.append([Message(b"%d" % i)], 1)
            except Unavailable:
                return
            taken.append(i)

    sender = threading.Thread(target=send)
    sender.start()
    while len(taken) < 200:
        time.sleep(0.001)
    server.kill()
    sender.join()
    for away in (lambda: broker.append([Message(b"lost")], 1), lambda: broker.bounds(0), lambda: broker.read(0, -1, 1, wait=9)):
        with pytest.raises(Unavailable, match=f"Redis at {server.address}"):
            away()
    server.start()
    found = broker.read(1, -1, 200_000)
    values = [int(r.value) for r in found]
    # the one that nobody was told of may be there
    assert values in (taken, [*taken, len(taken)])
    broker.append([Message(b"next")], 1)
    assert [r.offset for r in broker.read(1, found[-1].offset, 10)] == [len(values)]
    broker.close()
    server.kill()
    with pytest.raises(Unavailable, match="Look whether the server is up"):
        topic(server)


def test_the_password_is_used_and_never_shown(own_server: Callable[..., Any]) -> None:
    server = own_server("--requirepass", "right")
    topic(server, password="right").close()
    with pytest.raises(Unavailable) as e:
        topic(server, password="wrong-secret")
    assert "secret" not in str(e.value)


def test_a_key_of_somebody_else_is_an_error_and_no_record(redis_server: Any) -> None:
    broker = topic(redis_server, name="taken")
    client(redis_server).set("{fivefold:taken:0}:records", "a text")
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        broker.append([Message(b"0")])
    assert client(redis_server).get("{fivefold:taken:0}:next") is None
    broker.close()


@pytest.mark.parametrize(("query", "said"), [
    ("?max_bytes=1GB", "the redis URL: no setting 'max_bytes'"), ("?partitions=x", "is not a number of partitions"),
])
def test_wrong_wiring_is_invalid(query: str, said: str) -> None:
    with pytest.raises(Invalid, match=said.replace("(", r"\(")):
        topic("127.0.0.1:1", query)
