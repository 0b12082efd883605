"""`fivefold serve` as a process: under load, against bad clients, told to stop, killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fivefold.lifecycle.release import rollback
from fivefold.realtime.processes.process import FAREWELL_SECONDS
from fivefold.workspace.predictions import read_predictions

QUICK = """
import functools
import fivefold.realtime.processes.process as server
server.Limits = functools.partial(server.Limits, head_seconds=0.4, body_seconds=0.4)
"""
FULL_DISK = """
import resource
import fivefold.cli.serving as serving
introduce = serving._introduce
def full(url, endpoints, closed):
    # it listens already, and what it opened to answer is written
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    introduce(url, endpoints, closed)
serving._introduce = full
"""


class Load:
    """Clients that ask without a pause, each on a connection of its own; every answer that is not 200 is kept."""

    def __init__(self, server: Any, row: dict[str, Any], clients: int = 3) -> None:
        self.server, self.row = server, row
        self.versions: list[int] = []
        self.ids: list[str] = []
        self.failed: list[Any] = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for t in self.threads:
            t.start()
        self.wait_for(lambda: len(self.versions) > 20)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for t in self.threads:
            t.join(20)

    def _ask(self) -> None:
        with contextlib.closing(self.server.connect()) as connection:
            self._ask_through(connection)

    def _ask_through(self, connection: http.client.HTTPConnection) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", "/predict/returned", json.dumps(self.row),
                                   {"content-type": "application/json"})
            except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
                return  # it was not listening any more: nothing was asked
            try:
                reply = connection.getresponse()
                body = json.loads(reply.read())
                if reply.status == 200:
                    self.versions.append(body["version"])
                    self.ids.append(body["rows"][0]["id"])
                else:
                    self.failed.append((began, reply.status, body))
            except Exception as e:
                self.failed.append((began, e))
                return

    def wait_for(self, true: Callable[[], bool], seconds: float = 10) -> None:
        until = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < until, "it took too long"
            assert not self.failed, self.failed
            time.sleep(0.005)


def speak(port: int, *pieces: bytes, wait: float = 10) -> bytes:
    """What the server says to raw bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as made:
        for piece in pieces:
            made.sendall(piece)
        said = b""
        while chunk := made.recv(65536):
            said += chunk
        return said


HEAD = b"POST /predict/returned HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


def test_a_promotion_and_a_rollback_are_picked_up_under_load_without_a_failed_request(
    shop: Any, row: dict[str, Any]
) -> None:
    with shop.serve() as server:
        with Load(server, row) as load:
            assert set(load.versions) == {1}
            shop.another_version()
            promoted = time.monotonic()
            load.wait_for(lambda: load.versions[-1] == 2)
            assert time.monotonic() - promoted < 2
            with shop.open() as w:
                rollback(w, "returned")
            load.wait_for(lambda: load.versions[-1] == 1, 2)
        assert load.failed == []
        changes = [b for a, b in zip(load.versions, load.versions[1:], strict=False) if a != b]
        assert set(load.versions) == {1, 2}
        assert len(changes) < 20, "three clients see two changes, each within a moment"
        assert server.stop()[0] == 0


def test_told_to_stop_under_load_it_answers_what_was_asked_and_writes_its_log(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as server, Load(server, row) as load:
        told, before = time.monotonic(), len(load.ids)
        assert server.stop(signal.SIGTERM) == (0, "")
        load.over.set()
    # who comes at the very end may find the door closing; whoever came before, and a while after, is answered
    assert [f for f in load.failed if f[0] < told + 0.8 * FAREWELL_SECONDS] == []
    assert len(load.ids) > before > 20
    logged = [p["id"] for p in read_predictions(shop.root / ".fivefold", 10**6)]
    assert set(load.ids) <= set(logged)
    assert len(logged) == len(set(logged))


def test_while_it_leaves_it_is_not_ready(shop: Any) -> None:
    with shop.serve() as server:
        connection = server.connect()
        server.process.send_signal(signal.SIGTERM)
        for _ in range(200):
            connection.request("GET", "/v2/health/ready")
            reply = connection.getresponse()
            body = json.loads(reply.read())
            if reply.status == 503:
                break
            time.sleep(0.002)
        assert (body["ready"], body["draining"], reply.headers["connection"]) == (False, True, "close")
        connection.close()
        assert server.process.wait(20) == 0


def test_ctrl_c_ends_it_at_once(shop: Any) -> None:
    with shop.serve() as server:
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == (0, "")
        assert time.monotonic() - began < 5


def test_killed_it_leaves_a_log_that_can_be_read_and_a_project_that_serves(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as server:
        answered = [server.ask(row)[1]["rows"][0]["id"] for _ in range(20)]
        time.sleep(0.2)
        with Load(server, row):
            server.process.kill()
            server.process.wait()
    (segment,) = (shop.root / ".fivefold" / "log" / "predictions").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b'{"id":"p0005')
    with shop.serve() as server:
        status, found = server.ask(row)
        assert status == 200
        assert server.stop()[0] == 0
    listed = json.loads(shop.run("list", "predictions", "--json", "--limit", "100000").stdout)
    assert set(answered) <= {p["id"] for p in listed}
    assert listed[0]["id"] == found["rows"][0]["id"]


def test_every_answered_id_is_listed_by_the_command_line(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as server:
        answered = [server.ask({**row, "amount": i})[1]["rows"][0]["id"] for i in range(12)]
        assert server.stop()[0] == 0
    listed = json.loads(shop.run("list", "predictions", "--json").stdout)
    assert [p["id"] for p in listed] == answered[::-1]
    assert listed[0]["row"] == {"customer_id": "c1", "amount": 11.0}


def test_two_processes_serve_one_project_at_once(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as one, shop.serve() as other:
        answers = [server.ask(row)[1]["rows"][0] for server in (one, other, one, other)]
        assert len({a["prediction"] for a in answers}) == 1
        earlier = "/predict/returned?at=2026-02-13T16:26:40Z"
        assert {s.ask(row, earlier)[0] for s in (one, other)} == {400}
        shop.materialise(1_771_000_000_000_000)  # a third process writes meanwhile
        assert {s.ask(row, earlier)[1]["rows"][0]["as_of"] for s in (one, other)} == {"2026-02-13T16:26:40Z"}
        assert [s.stop()[0] for s in (one, other)] == [0, 0]
    logged = [p["id"] for p in read_predictions(shop.root / ".fivefold", 100)]
    assert {a["id"] for a in answers} <= set(logged)
    assert len(logged) == 6


def test_without_a_champion_it_waits_for_one(untrained: Any, row: dict[str, Any]) -> None:
    with untrained.serve() as server:
        assert "no champion yet" in server.said
        status, found = server.ask(row)
        assert (status, found["error"]["hint"]) == (503, "Run `fivefold train returned`.")
        assert server.get("/v2/health/ready")[0] == 503
        assert server.get("/v2/health/live")[0] == 200
        untrained.release()
        until = time.monotonic() + 2
        while server.get("/v2/health/ready")[0] != 200:
            assert time.monotonic() < until
            time.sleep(0.02)
        status, found = server.ask(row)
        assert status == 200
        assert found["rows"][0]["warnings"] == ["no values of the feature view 'spending' have been materialised"]
        untrained.materialise()
        assert "warnings" not in server.ask(row)[1]["rows"][0]


def test_a_project_without_feature_values_says_so_when_it_starts(shop: Any) -> None:
    shutil.rmtree(shop.root / ".fivefold" / "online")
    with shop.serve() as server:
        assert "no values of the feature view 'spending' yet; run `fivefold materialize`" in server.said


def test_a_client_that_is_slow_with_its_head_or_body_is_let_go(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve(program=QUICK) as server:
        began = time.monotonic()
        assert speak(server.port) == b""
        assert speak(server.port, b"POST /pre") == b""
        assert speak(server.port, HEAD) == b""
        assert speak(server.port, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET ").count(b"HTTP/1.1 200") == 1
        half = speak(server.port, HEAD + b'content-length: 30\r\n\r\n{"customer')
        assert half.startswith(b"HTTP/1.1 408")
        assert b"the body did not arrive within 0.4 s." in half
        chunked = speak(server.port, HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\n{\"cu\r\n")
        assert chunked.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 15
        assert server.ask(row)[0] == 200
        assert server.stop()[0] == 0


def test_a_slow_client_does_not_keep_it_from_leaving(shop: Any) -> None:
    with shop.serve(program=QUICK) as server, socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(HEAD + b"content-length: 30\r\n\r\n{")
        assert server.stop()[0] == 0


@pytest.mark.parametrize(("sent", "answer"), [
    (b"GARBAGE\r\n\r\n", b"HTTP/1.1 400"),
    (b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000, b"HTTP/1.1 431"),
    (b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % i for i in range(9000)), b"HTTP/1.1 431"),
    (b"GET /" + b"a" * 70_000, b"HTTP/1.1 431"),
    (HEAD + b"content-length: 99999999999\r\n\r\n", b"HTTP/1.1 413"),
    (HEAD + b"content-length: -1\r\n\r\n", b"HTTP/1.1 400"),
    (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n{}", b"HTTP/1.1 400"),
    (b"POST /predict/returned HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n", b"HTTP/1.1 421"),
    (b"GET /%ff%00 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", b"HTTP/1.1 404"),
    (b"HEAD /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", b"HTTP/1.1 200"),
    (b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n"
     b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"HTTP/1.1 200"),
])
def test_bad_bytes_are_answered_and_nothing_else_happens(one_server: Any, sent: bytes, answer: bytes) -> None:
    assert speak(one_server.port, sent).startswith(answer)
    assert one_server.get("/health")[0] == 200


def test_a_chunked_body_that_grows_too_long_is_cut_off(one_server: Any, row: dict[str, Any]) -> None:
    with socket.create_connection(("127.0.0.1", one_server.port), timeout=10) as made:
        made.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        sent = 0
        try:
            for _ in range(64):
                made.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
                sent += 1
        except OSError:
            pass
    assert sent < 64
    assert one_server.ask(row)[0] == 200


def test_a_full_disk_drops_log_lines_and_answers_go_on(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve(program=FULL_DISK) as server:
        until = time.monotonic() + 20
        assert server.ask(row)[0] == 200
        while not read_predictions(shop.root / ".fivefold", 10):
            assert time.monotonic() < until
        # a short line may still fit, after which there is no trouble until the next one
        while not ((about := server.get("/v2/health/ready")[1])["predictions_not_logged"] and about["log_trouble"]):
            assert server.ask(row)[0] == 200
            assert time.monotonic() < until
        assert "File too large" in about["log_trouble"]
        assert about["predictions_left_out"]["not written"] > 0
        assert about["predictions_logged_one_of"] > 1
        assert [server.ask(row)[0] for _ in range(50)] == [200] * 50
        status, said = server.stop()
        assert status == 0
        assert said.count("predictions were not logged (not written: ") == 1
    assert read_predictions(shop.root / ".fivefold", 10)


def test_a_port_in_use_is_one_line_and_exit_one(one_server: Any, shop: Any) -> None:
    found = shop.run("serve", "--port", str(one_server.port))
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == (f"error: cannot serve on 127.0.0.1:{one_server.port}: Address already in use.\n"
                            "  Is the port in use? Try another --port.\n")


def test_the_command_line_refuses_an_address_that_others_can_reach(shop: Any) -> None:
    found = shop.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert found.returncode == 1
    assert found.stderr.startswith("error: refusing to serve on '0.0.0.0' without authentication")


def test_an_endpoint_that_is_not_declared_is_refused_by_name(shop: Any) -> None:
    found = shop.run("serve", "--port", "0", "--endpoint", "retuned")
    assert found.returncode == 1
    assert "Did you mean 'returned'?" in found.stderr
