"""Workers that are started, killed, stopped, replaced and scaled: small ones that only report, and real ones under load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fivefold.core.errors import Invalid
from fivefold.realtime.processes import supervisor as supervising
from fivefold.realtime.processes.autoscaler import Policy
from fivefold.realtime.processes.replicas import parse_workers, replica_of
from fivefold.realtime.processes.supervisor import Supervisor

# what a worker does: report, as its file of orders says, until it is told to leave
SMALL = """
import json, os, signal, sys, time
pipe, orders = int(sys.argv[1]), sys.argv[2]
left = []
signal.signal(signal.SIGTERM, lambda *_: left.append(1))
done = 0.0
while not left:
    told = json.load(open(orders))
    if told.get("dies"):
        os._exit(3)
    done += told.get("busy", 0.0) * 0.02
    if not told.get("silent"):
        os.write(pipe, json.dumps({"ready": told.get("ready", True), "requests": int(done * 10), "seconds": done}).encode() + b"\\n")
    time.sleep(0.02)
while json.load(open(orders)).get("stays"):
    time.sleep(0.02)
"""


class Small:
    """A supervisor of small workers, stepped by hand."""

    def __init__(self, folder: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"TICK_SECONDS": 0.1, "SILENT_SECONDS": 1.0, "START_SECONDS": 1.5, "DRAIN_SECONDS": 1.0,
                            "FIRST_PAUSE": 0.05}.items():
            monkeypatch.setattr(supervising, name, value)
        self.orders = folder / "orders.json"
        self.tell()
        self.said: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.it = Supervisor(lambda sock, pipe: [sys.executable, "-c", SMALL, str(pipe), str(self.orders)],
                             self.socket, policy, self.said.append)
        self.read, self.write = os.pipe()

    def tell(self, **orders: Any) -> None:
        whole = self.orders.with_suffix(".new")
        whole.write_text(json.dumps(orders))
        whole.replace(self.orders)

    def until(self, true: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, (self.said, [w.reports.last for w in self.it.workers])
            self.it.step()
            self.it._wait(self.read, 0.02)

    def pids(self) -> set[int]:
        return {w.process.pid for w in self.it.workers if w.ready}

    def close(self) -> None:
        for worker in self.it.workers:
            worker.process.kill()
            worker.process.wait()
        self.socket.close()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Small]]:
    made: list[Small] = []

    def start(**policy: Any) -> Small:
        given = {"least": 2, "most": 4, "stable_window": 1.0, "panic_window": 0.3, "down_after": 0.5} | policy
        made.append(Small(tmp_path, Policy(**given), monkeypatch))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_one_that_dies_is_replaced(small: Any) -> None:
    it = small()
    it.until(lambda: len(it.pids()) == 2)
    (first, *_) = it.pids()
    os.kill(first, signal.SIGKILL)
    it.until(lambda: first not in it.pids() and len(it.pids()) == 2)
    assert f"worker {first} ended with -9; another one is started." in it.said


def test_one_that_says_nothing_or_is_never_ready_is_killed(small: Any) -> None:
    it = small(least=1)
    it.until(lambda: len(it.pids()) == 1)
    (stopped,) = it.pids()
    os.kill(stopped, signal.SIGSTOP)
    it.until(lambda: f"worker {stopped} is killed: it said nothing." in it.said)
    it.until(lambda: len(it.pids()) == 1)
    it.tell(ready=False)
    os.kill(*it.pids(), signal.SIGKILL)
    it.until(lambda: any("it did not get ready" in text for text in it.said))


def test_those_that_die_at_once_are_not_started_again_and_again(small: Any) -> None:
    it = small(least=1)
    it.tell(dies=True)
    began = time.monotonic()
    it.until(lambda: time.monotonic() - began > 3)
    assert 2 <= len(it.said) <= 7, "each time it waits twice as long"
    it.tell()
    it.until(lambda: len(it.pids()) == 1)


def test_they_are_replaced_one_by_one_and_never_fewer_than_wanted(small: Any) -> None:
    it = small(least=3, most=3)
    it.until(lambda: len(it.pids()) == 3)
    before = it.pids()
    it.it._on_signal(signal.SIGHUP, None)
    least = [3]
    it.until(lambda: least.append(len(it.pids())) or (it.pids().isdisjoint(before) and len(it.it.workers) == 3))  # type: ignore[func-returns-value]
    assert min(least) == 3


def test_one_that_does_not_leave_is_killed_in_the_end(small: Any) -> None:
    it = small(least=1)
    it.until(lambda: len(it.pids()) == 1)
    (stays,) = it.pids()
    it.tell(stays=True)
    it.it._on_signal(signal.SIGHUP, None)
    it.until(lambda: f"worker {stays} is killed: it did not end." in it.said)


def test_load_makes_more_of_them_and_quiet_fewer(small: Any) -> None:
    it = small(least=1, most=3, concurrency=1.0)
    it.until(lambda: len(it.pids()) == 1)
    it.tell(busy=5.0)
    it.until(lambda: len(it.pids()) == 3)
    it.tell(busy=0.0)
    it.until(lambda: len(it.it.workers) == 1, 30)
    assert any("3 workers instead of" in text for text in it.said)


@pytest.mark.parametrize("text", ["0", "2-1", "x", "1-", "-1", "257", "1-2-3"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no number of processes"):
        parse_workers(text)


def test_a_range_of_workers_is_read() -> None:
    assert (parse_workers("3"), parse_workers("1-4")) == ((3, 3), (1, 4))
    for text in ("x", "900,901"):
        with pytest.raises(Invalid, match="--replica"):
            replica_of(text)


class Clients:
    """Clients that ask all the time; each connection is used until the server closes it."""

    def __init__(self, server: Any, row: dict[str, Any], count: int = 3) -> None:
        self.server, self.row = server, row
        self.answered = 0
        self.failed: list[Any] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> Clients:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def _ask(self) -> None:
        connection = self.server.connect()
        while not self.over.is_set():
            try:
                connection.request("POST", "/predict/returned", json.dumps(self.row), {"content-type": "application/json"})
                reply = connection.getresponse()
                body = reply.read()
                if reply.status == 200:
                    self.answered += 1
                else:
                    self.failed.append((reply.status, body))
            except (OSError, http.client.HTTPException) as e:
                self.failed.append(e)
                connection.close()
        connection.close()


def workers_of(server: Any) -> list[int]:
    pid = server.process.pid
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def restarted(shop: Any, row: dict[str, Any], times: int) -> None:
    with shop.serve("--workers", "2") as server, Clients(server, row) as clients:
        until(lambda: len(workers_of(server)) == 2)
        for _ in range(times):
            before = set(workers_of(server))
            server.process.send_signal(signal.SIGHUP)
            until(lambda before=before: before.isdisjoint(now := workers_of(server)) and len(now) == 2)
        assert clients.failed == []
        assert clients.answered > 100
        clients.over.set()
        assert server.stop() == (0, "")


def test_rolling_restarts_under_load_fail_no_request(shop: Any, row: dict[str, Any]) -> None:
    restarted(shop, row, 2)


@pytest.mark.long
def test_twenty_rolling_restarts_under_load_fail_no_request(shop: Any, row: dict[str, Any]) -> None:
    restarted(shop, row, 20)


def test_a_killed_worker_fails_only_what_it_was_answering(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve("--workers", "2") as server, Clients(server, row, 4) as clients:
        until(lambda: len(workers_of(server)) == 2 and clients.answered > 50)
        killed = workers_of(server)[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in workers_of(server) and len(workers_of(server)) == 2)
        after = clients.answered
        until(lambda: clients.answered > after + 50)
        assert len(clients.failed) <= 4, "one a connection at most"
        assert not any(isinstance(f, tuple) for f in clients.failed)


def test_a_supervisor_that_is_killed_leaves_no_workers(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve("--workers", "2", "--grpc-port", "0") as server:
        until(lambda: len(workers_of(server)) == 2)
        pids = workers_of(server)
        assert server.ask(row)[0] == 200
        server.process.kill()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
                              for pid in pids))


def test_it_says_why_nothing_can_be_served(shop: Any) -> None:
    done = shop.run("serve", "--workers", "2", "--port", "0", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "refusing to serve" in done.stderr


def test_what_is_not_declared_is_said_once(shop: Any) -> None:
    done = shop.run("serve", "--workers", "2", "--port", "0", "--endpoint", "retured")
    assert done.returncode == 1
    assert done.stderr.count("Did you mean 'returned'") == 1
