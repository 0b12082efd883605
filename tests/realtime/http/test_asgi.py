"""The application behind a server of other people: uvicorn, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from shop_project import AT, ROW, Shop

from fivefold.core.uses import Endpoint
from fivefold.realtime.http.asgi import Asgi
from fivefold.realtime.http.http1 import Request, Response
from fivefold.realtime.http.sites import LOOPBACK
from fivefold.realtime.processes.application import Application, application


class Behind:
    """An application behind uvicorn, in a thread."""

    def __init__(self, app: Any) -> None:
        import uvicorn

        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none"))
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.socket.close()

    def ask(self, body: bytes | None, path: str = "/predict/returned", method: str = "POST", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            named = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
            connection.request(method, path, body, named)
            reply = connection.getresponse()
            return reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()}


@pytest.fixture
def behind(shop: Shop) -> Iterator[tuple[Behind, Application]]:
    with shop.open() as workspace, contextlib.ExitStack() as stack:
        chosen = [e for e in workspace.project.of(Endpoint.kind) if isinstance(e, Endpoint)]
        opened = stack.enter_context(application(workspace, chosen, hosts=LOOPBACK, closed=False, at=AT))
        made = Behind(Asgi(opened.app, opened.app.refused))
        try:
            yield made, opened
        finally:
            made.stop()


def test_rows_get_the_bits_of_our_own_server(shop: Shop, behind: tuple[Behind, Application]) -> None:
    with shop.serve() as ours:
        for value in (ROW, {"rows": [ROW, {"amount": "x"}]}):
            status, answer, _ = behind[0].ask(json.dumps(value).encode())
            expected = ours.ask(value)
            found = json.loads(answer)
            for rows in (found["rows"], expected[1]["rows"]):
                for row in rows:
                    row.pop("id", None)
            assert (status, found) == expected


def test_a_stream_comes_in_pieces_and_head_has_no_body(behind: tuple[Behind, Application]) -> None:
    status, raw, headers = behind[0].ask(json.dumps({"rows": [ROW, ROW]}).encode(), accept="text/event-stream")
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert b"event: end" in raw
    status, raw, headers = behind[0].ask(None, "/health", "HEAD")
    assert (status, raw, int(headers["content-length"]) > 0) == (200, b"", True)


def test_hosts_and_errors_are_those_of_our_own_server(behind: tuple[Behind, Application]) -> None:
    assert behind[0].ask(b"{}", host="evil.example.com")[0] == 421
    status, raw, headers = behind[0].ask(None, "/predict/returned", "GET")
    assert (status, headers["allow"]) == (405, "POST")
    assert "POST" in json.loads(raw)["error"]["hint"]


def test_a_body_that_is_too_long_is_refused() -> None:
    told: list[tuple[int, str]] = []

    def refuse(status: int, message: str) -> Response:
        told.append((status, message))
        return Response(status, b"{}")

    made = Behind(Asgi(lambda request: Response(200, b"%d" % len(request.body)), refuse, most_bytes=1000))
    try:
        assert made.ask(b"x" * 1000)[:2] == (200, b"1000")
        assert made.ask(b"x" * 1001)[0] == 413
        assert len(told) == 1
    finally:
        made.stop()


def test_a_client_that_leaves_is_not_answered_and_the_end_is_told_once() -> None:
    cancelled, ended = threading.Event(), []

    async def never(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Response(200, b"")

    made = Behind(Asgi(never, lambda s, m: Response(s, b""), lambda: ended.append(1)))
    with socket.create_connection(("127.0.0.1", made.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        time.sleep(0.3)
    assert cancelled.wait(5)
    made.stop()
    assert ended == [1]


def test_a_client_without_an_address_is_not_taken_for_this_machine() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, b"")

    async def ask(client: Any) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "GET", "path": "/a b", "raw_path": b"/a%20b", "headers": [(b"a", b"1"), (b"a", b"2")], "client": client}
        await Asgi(handler, lambda s, m: Response(s, b""))(scope, receive, send)

    for client in (None, ("", 0), ("127.0.0.1", 5)):
        asyncio.run(ask(client))
    assert [r.peer for r in seen] == ["unknown", "unknown", "127.0.0.1"]
    assert (seen[0].path, seen[0].headers) == ("/a%20b", {b"a": b"1, 2"})
