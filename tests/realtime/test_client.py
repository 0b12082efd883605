"""The client among servers that are slow, sick, full or gone."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fivefold.core.errors import Invalid, NotFound, Unavailable
from fivefold.realtime import client as asking
from fivefold.realtime.client import Client, Refused

ANSWER = {"model": "m", "version": 1, "rows": [{"id": "p1", "prediction": 0.5}]}


class Server:
    """A server that does what `acts` says: (seconds to wait, status, body, headers)."""

    def __init__(self) -> None:
        self.asked = 0
        self.running = True
        self.acts: Callable[[int], tuple[float, int, Any, dict[str, str]]] = lambda n: (0.0, 200, ANSWER, {})
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                outer.asked += 1
                seconds, status, body, headers = outer.acts(outer.asked)
                time.sleep(seconds)
                if status == 0:
                    self.close_connection = True
                    return
                raw = json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.server.shutdown()
            self.server.server_close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made = [Server(), Server()]
    yield made
    for one in made:
        one.stop()


@pytest.fixture
def client(servers: list[Server]) -> Iterator[Client]:
    with Client([s.url for s in servers]) as made:
        yield made


def test_an_answer_is_what_the_endpoint_says(client: Client) -> None:
    assert client.predict("late", {"x": 1}) == {"model": "m", "version": 1, "id": "p1", "prediction": 0.5}
    assert client.predict_many("late", [{"x": 1}])["rows"] == ANSWER["rows"]


def test_hosts_share_the_requests(client: Client, servers: list[Server]) -> None:
    for _ in range(60):
        client.predict("late", {})
    assert min(s.asked for s in servers) > 10


def test_a_host_that_is_gone_costs_no_answer_and_is_left_alone(client: Client, servers: list[Server]) -> None:
    servers[0].stop()
    for _ in range(60):
        client.predict("late", {})
    assert servers[1].asked == 60
    assert client.hosts[0].ejected_until > time.monotonic()


@pytest.mark.parametrize("status", [500, 503, 0])
def test_a_host_that_fails_is_asked_no_more_for_a_while(client: Client, servers: list[Server], status: int) -> None:
    servers[0].acts = lambda n: (0.0, status, {"error": {"message": "sick", "hint": ""}}, {})
    failed = 0
    for _ in range(60):
        try:
            client.predict("late", {})
        except Unavailable:
            failed += 1
    assert failed == 0 or status == 500, "a fault of the server is not asked for again elsewhere"
    assert servers[0].asked <= 2 * asking.FAILURES
    assert client.hosts[0].ejections == 1


def test_when_all_are_sick_all_are_asked(client: Client, servers: list[Server]) -> None:
    for server in servers:
        server.acts = lambda n: (0.0, 500, {"error": {"message": "sick", "hint": ""}}, {})
    for _ in range(30):
        with pytest.raises(Refused):
            client.predict("late", {})
    asked = [s.asked for s in servers]
    for server in servers:
        server.acts = lambda n: (0.0, 200, ANSWER, {})
    client.predict("late", {})
    assert sum(s.asked for s in servers) == sum(asked) + 1


def test_a_slow_answer_is_asked_for_at_the_other_host(client: Client, servers: list[Server]) -> None:
    for _ in range(100):
        client.predict("late", {})
    servers[0].acts = lambda n: (2.0, 200, ANSWER, {})
    began = time.monotonic()
    for _ in range(5):
        client.predict("late", {})
    assert time.monotonic() - began < 1.5


def test_hedges_and_retries_are_bounded(client: Client, servers: list[Server]) -> None:
    for _ in range(100):
        client.predict("late", {})
    before = sum(s.asked for s in servers)
    for server in servers:
        server.acts = lambda n: (0.4, 200, ANSWER, {})
    threads = [threading.Thread(target=client.predict, args=("late", {})) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(s.asked for s in servers) - before <= 20 + 6, "an overload is not doubled"


def test_a_timeout_is_for_everything_together(client: Client, servers: list[Server]) -> None:
    for server in servers:
        server.acts = lambda n: (3.0, 200, ANSWER, {})
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"no answer from .* in time"):
        client.predict("late", {}, timeout=0.3)
    assert time.monotonic() - began < 1.5


def test_one_host_that_is_full_is_asked_again_when_it_said(servers: list[Server]) -> None:
    servers[0].acts = lambda n: (0.0, 503, {"error": {"message": "full", "hint": ""}, "retry_after_ms": 150}, {}) if n < 3 else (
        0.0, 200, ANSWER, {})
    with Client([servers[0].url]) as client:
        began = time.monotonic()
        client.predict("late", {})
        assert 0.3 <= time.monotonic() - began < 2
        servers[0].acts = lambda n: (0.0, 429, {"error": {"message": "full", "hint": "wait"}}, {"retry-after": "60"})
        with pytest.raises(Refused, match="full") as refused:
            client.predict("late", {}, timeout=1)
        assert (refused.value.status, refused.value.retry_after) == (429, 60.0)


@pytest.mark.parametrize(("status", "error"), [(400, Invalid), (404, NotFound), (422, Invalid)])
def test_a_request_that_is_wrong_is_not_sent_twice(client: Client, servers: list[Server], status: int, error: Any) -> None:
    for server in servers:
        server.acts = lambda n: (0.0, status, {"error": {"message": "x is missing.", "hint": "Send x."}}, {})
    with pytest.raises(error, match="x is missing"):
        client.predict("late", {})
    assert sum(s.asked for s in servers) == 1


def test_addresses_are_checked() -> None:
    for hosts in ([], ["a:8000"], ["ftp://a"]):
        with pytest.raises(Invalid):
            Client(hosts)


def test_against_two_real_servers_one_of_which_dies(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as one, shop.serve() as other, Client([f"http://127.0.0.1:{s.port}" for s in (one, other)]) as client:
        ids = [client.predict("returned", row)["id"] for _ in range(20)]
        one.process.kill()
        ids += [client.predict("returned", row)["id"] for _ in range(40)]
        assert len(set(ids)) == 60
        time.sleep(0.3)
        assert client.feedback({ids[-1]: True})["taken"] == 1
        with pytest.raises(Invalid, match="amount"):
            client.predict("returned", {"customer_id": "c1"})
        with pytest.raises(NotFound, match="Did you mean 'returned'"):
            client.predict("returnd", row)
