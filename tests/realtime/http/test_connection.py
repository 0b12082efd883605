"""The connection, spoken to over real sockets: in pieces, too fast, too slow, too much, and by who leaves."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from fivefold.realtime.http.connection import Front, Limits
from fivefold.realtime.http.http1 import Handler, Request, Response
from fivefold.realtime.http.listener import Listener

LIMITS = Limits(body_bytes=1000, connections=8, head_seconds=1.0, body_seconds=1.0, idle_seconds=1.0, stall_seconds=1.0)


class Server:
    """A front in a thread of its own."""

    def __init__(self, handler: Handler, limits: Limits = LIMITS) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self._handler, self._limits = handler, limits
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._main()))
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self.loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self.front = Front(self._handler, lambda s, m: Response(s, m.encode(), b"text/plain"), self.loop, self._limits)
        self.listener = Listener(self.socket, self.front)
        self.listener.open()
        self._ready.set()
        await self._over.wait()
        self.listener.shut()
        self.front.close()
        await asyncio.sleep(0.05)

    def within(self, work: Callable[[], Any]) -> None:
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (work(), done.set()))
        done.wait()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self.socket.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(handler: Handler, limits: Limits = LIMITS) -> Server:
        made.append(Server(handler, limits))
        return made[-1]

    yield start
    for one in made:
        one.close()


def echo(request: Request) -> Response:
    return Response(200, f"{request.method} {request.path} {request.query.decode()} ".encode() + request.body)


def read_answer(client: socket.socket, held: bytes = b"") -> tuple[int, dict[bytes, bytes], bytes, bytes]:
    """Status, headers, body, and what came behind them."""
    while b"\r\n\r\n" not in held:
        more = client.recv(65536)
        assert more, held
        held += more
    head, _, rest = held.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    length = int(headers.get(b"content-length", 0))
    while len(rest) < length:
        rest += client.recv(65536)
    return int(first.split()[1]), headers, rest[:length], rest[length:]


def until_closed(client: socket.socket) -> bytes:
    held = b""
    while more := client.recv(65536):
        held += more
    return held


def post(body: bytes, path: bytes = b"/a?b=c", more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n%b" % (path, len(body), more, body)


def test_requests_of_one_connection_are_answered_in_order_however_they_are_cut(serve: Any) -> None:
    server = serve(echo)
    sent = b"".join(post(b"n%d" % i) for i in range(40))
    for size in (1, 7, 100, len(sent)):
        with server.connect() as client:
            threading.Thread(target=lambda size=size, client=client: [
                client.sendall(sent[i : i + size]) for i in range(0, len(sent), size)]).start()
            rest = b""
            for i in range(40):
                status, headers, body, rest = read_answer(client, rest)
                assert (status, body) == (200, b"POST /a b=c n%d" % i)
                assert headers[b"content-type"] == b"application/json"
                assert b"GMT" in headers[b"date"]


def test_answers_that_are_awaited_keep_the_order_and_pause_a_client_that_asks_too_much(serve: Any) -> None:
    running = most = 0

    async def slow(request: Request) -> Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return echo(request)

    server = serve(slow)
    with server.connect() as client:
        threading.Thread(target=lambda: client.sendall(b"".join(post(b"%d" % i) for i in range(300)))).start()
        rest = b""
        for i in range(300):
            _, _, body, rest = read_answer(client, rest)
            assert body.endswith(b" %d" % i)
    assert most == 1


def test_a_chunked_body_and_one_that_waits_for_continue(serve: Any) -> None:
    server = serve(echo)
    with server.connect() as client:
        client.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert read_answer(client)[2] == b"PUT /x  abcde"
        client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"ok")
        assert read_answer(client)[2] == b"POST /x  ok"


def test_head_has_no_body_and_old_clients_are_let_go(serve: Any) -> None:
    server = serve(echo)
    with server.connect() as client:
        client.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\nHost: x\r\n\r\n")
        found = until_closed(client)
        assert found.count(b"HTTP/1.1 200 OK") == 2
        assert found.count(b"HEAD /") == 0
        assert b"connection: close" in found


def test_an_offer_of_another_protocol_is_passed_over(serve: Any) -> None:
    # as Java's client makes with each first request
    server = serve(echo)
    with server.connect() as client:
        client.sendall(post(b"body", more=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAE\r\n"))
        client.sendall(post(b"next"))
        first = read_answer(client)
        assert first[2] == b"POST /a b=c body"
        assert read_answer(client, first[3])[2] == b"POST /a b=c next"


@pytest.mark.parametrize(("sent", "status"), [
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"a" * 2000, 413),
    (b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 70_000, 431),
])
def test_what_is_no_proper_request_is_answered_and_cut(serve: Any, sent: bytes, status: int) -> None:
    called: list[Request] = []
    server = serve(lambda request: called.append(request) or echo(request))
    with server.connect() as client:
        client.sendall(sent)
        found = until_closed(client)
        assert found.startswith(b"HTTP/1.1 %d " % status), found
        assert found.count(b"HTTP/1.1") == 1 or status == 400
    with server.connect() as client:
        client.sendall(post(b"fine"))
        assert read_answer(client)[0] == 200
    assert [r.body for r in called if r.method == "POST"] == [b"fine"]


@pytest.mark.parametrize("sent", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"])
def test_who_is_too_slow_is_let_go(serve: Any, sent: bytes) -> None:
    server = serve(echo)
    with server.connect() as client:
        began = time.monotonic()
        client.sendall(sent)
        found = until_closed(client)
        assert 0.8 < time.monotonic() - began < 4
        assert found.startswith(b"HTTP/1.1 408") == sent.endswith(b"ab")


def test_a_byte_now_and_then_does_not_keep_a_connection(serve: Any) -> None:
    server = serve(echo)
    with server.connect() as client:
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 6:
                client.sendall(b"P")
                time.sleep(0.1)
        assert time.monotonic() - began < 5


def test_a_fault_fails_one_request_and_says_nothing_of_the_inside(serve: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async def later(request: Request) -> Response:
        raise ValueError("a secret")

    def fails(request: Request) -> Any:
        if request.path == "/now":
            raise ValueError("a secret")
        return later(request) if request.path == "/later" else echo(request)

    server = serve(fails)
    with server.connect() as client:
        for path, status in ((b"/now", 500), (b"/later", 500), (b"/fine", 200)):
            client.sendall(post(b"", path))
            found = read_answer(client)
            assert found[0] == status
            assert b"secret" not in found[2]
    assert capfd.readouterr().err.count("ValueError: a secret") == 2


class Stream:
    """Pieces of an answer, and whether it was closed."""

    def __init__(self, pieces: int, size: int = 10, fails_at: int = -1) -> None:
        self.made, self.closed, self._pieces, self._size, self._fails = 0, threading.Event(), pieces, size, fails_at

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            for i in range(self._pieces):
                if i == self._fails:
                    raise ValueError("broken")
                self.made += 1
                yield b"%d" % (i % 10) * self._size
                await asyncio.sleep(0)
        finally:
            self.closed.set()


def test_pieces_are_sent_as_they_come_and_the_connection_goes_on(serve: Any) -> None:
    stream = Stream(3)
    server = serve(lambda r: Response(200, b"", stream=stream.pieces()) if r.path == "/s" else echo(r))
    with server.connect() as client:
        client.sendall(post(b"", b"/s") + post(b"z"))
        held = b""
        while b"POST /a b=c z" not in held:
            held += client.recv(1000)
        assert b"transfer-encoding: chunked" in held
        assert b"a\r\n0000000000\r\na\r\n1111111111\r\na\r\n2222222222\r\n0\r\n\r\nHTTP/1.1 200" in held
    assert stream.closed.wait(5)


def test_a_client_that_takes_nothing_makes_it_wait_and_is_cut(serve: Any) -> None:
    stream = Stream(100_000, 10_000)
    server = serve(lambda r: Response(200, b"", stream=stream.pieces()))
    with server.connect() as client:
        client.sendall(post(b""))
        assert stream.closed.wait(10)
    assert stream.made < 10_000, "no more was made than was taken"


@pytest.mark.parametrize("fails_at", [-1, 50])
def test_a_stream_nobody_hears_or_that_breaks_is_closed(serve: Any, fails_at: int) -> None:
    stream = Stream(10_000_000, 10, fails_at)
    server = serve(lambda r: Response(200, b"", stream=stream.pieces()))
    with server.connect() as client:
        client.sendall(post(b""))
        assert client.recv(10)
        if fails_at > 0:
            assert not until_closed(client).endswith(b"0\r\n\r\n"), "it does not look whole"
    assert stream.closed.wait(5)


def test_an_answer_nobody_waits_for_is_cancelled(serve: Any) -> None:
    cancelled = threading.Event()

    async def forever(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return echo(request)

    server = serve(forever)
    with server.connect() as client:
        client.sendall(post(b""))
        time.sleep(0.1)
    assert cancelled.wait(5)


def test_more_clients_than_the_limit_wait_until_one_leaves(serve: Any) -> None:
    server = serve(echo, LIMITS._replace(idle_seconds=60, head_seconds=60))
    clients = [server.connect() for _ in range(8)]
    for client in clients:
        client.sendall(post(b""))
        read_answer(client)
    with server.connect() as late:
        late.sendall(post(b"late"))
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.recv(1)
        late.settimeout(10)
        clients.pop().close()
        assert read_answer(late)[2].endswith(b"late")
    for client in clients:
        client.close()


def test_bodies_of_all_clients_together_are_bounded(serve: Any) -> None:
    server = serve(echo, LIMITS._replace(held_bytes=2500, body_seconds=60))
    half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"a" * 999
    clients = [server.connect() for _ in range(3)]
    for client in clients[:2]:
        client.sendall(half)
    time.sleep(0.2)
    clients[2].sendall(half)
    assert until_closed(clients[2]).startswith(b"HTTP/1.1 503")
    for client in clients[:2]:
        client.sendall(b"a")
        assert read_answer(client)[0] == 200
    for client in clients:
        client.close()
    time.sleep(0.2)
    assert server.front.held == 0
    with server.connect() as client:
        client.sendall(post(b"z" * 1000))
        assert read_answer(client)[0] == 200


def test_a_listener_that_is_shut_leaves_clients_to_others(serve: Any) -> None:
    server = serve(echo)
    server.within(server.listener.shut)
    with server.connect() as client:
        client.sendall(post(b"x"))
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        server.within(server.listener.open)
        client.settimeout(10)
        assert read_answer(client)[0] == 200


def test_leaving_answers_what_was_asked_and_lets_go_of_who_asks_nothing(serve: Any) -> None:
    started = threading.Event()

    async def slow(request: Request) -> Response:
        started.set()
        await asyncio.sleep(0.3)
        return echo(request)

    server = serve(slow, LIMITS._replace(idle_seconds=60))
    with server.connect() as busy, server.connect() as idle:
        busy.sendall(post(b"x"))
        assert started.wait(5)
        server.within(server.front.leave)
        assert until_closed(idle) == b""
        status, headers, _, _ = read_answer(busy)
        assert (status, headers[b"connection"]) == (200, b"close")
        assert until_closed(busy) == b""
