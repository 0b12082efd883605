from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections import Counter
from typing import Any

import pytest

from fivefold.core.errors import Invalid
from fivefold.core.noun import definition
from fivefold.core.uses import Endpoint
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.batching.gate import Gate, priority
from fivefold.realtime.batching.rates import Rates
from fivefold.realtime.protocols.bounds import Overloaded


class Full(Batcher):
    """Refuses whatever is asked."""

    def require(self, live: Any, rows: int, priority: int, over: int | None = None) -> None:
        raise Overloaded("the answer would come later than 20 ms.", hint="Ask again.", retry_ms=1234)


def test_what_would_be_late_is_refused_before_its_body_is_read_as_each_protocol_says_it(shop: Any) -> None:
    with shop.app() as asker:
        app = asker.app
        app._gate = Gate(asker.live, Full({}), None, b"x-api-key")
        for path, reads in (("/predict/returned", lambda b: b["error"]["message"]), ("/v2/models/returned/infer", lambda b: b["error"]),
                            ("/v1/models/returned:predict", lambda b: b["error"]), ("/invocations", lambda b: b["message"])):
            status, body, headers = asker.send(b"\xff no json", path)
            assert (status, headers[b"retry-after"], body["retry_after_ms"]) == (503, b"2", 1234)
            assert reads(body).startswith("the answer would come later")
        assert asker.send(path="/health", method="GET")[0] == 200


def test_a_caller_that_asks_too_often_is_told_so_and_others_are_answered(shop: Any, row: dict[str, Any]) -> None:
    with shop.app() as asker:
        asker.app._gate = Gate(asker.live, Batcher({}), Rates(0.1, 2), b"x-api-key")

        found = []
        body = json.dumps(row).encode()
        for key in ("a", "a", "a", "b"):
            # the batcher belongs to the loop it first ran in; these are refused or let in before it is asked
            asker.app._gate._batcher = Batcher({})
            found.append(asker.send(body, x_api_key=key))
        assert [status for status, *_ in found] == [200, 200, 429, 200]
        assert 1 <= int(found[2][2][b"retry-after"]) <= 10
        assert found[2][1]["retry_after_ms"] > 1000


@pytest.mark.parametrize(("header", "level"), [
    (b"u=0", 1), (b"u=7, i", 8), (b"i, u=3", 4), (b"u=9", 0), (b"", 0), (b"u=", 0), (b"x", 0)])
def test_the_priority_header_is_that_of_rfc_9218(header: bytes, level: int) -> None:
    assert priority({b"priority": header}) == level
    assert priority({}) == 0


def test_an_endpoint_that_promises_nothing_is_declared_as_it_always_was(shop: Any) -> None:
    with shop.open() as w:
        endpoint = w.project.get("endpoint", "returned")
        assert isinstance(endpoint, Endpoint)
        assert definition(endpoint) == {"kind": "endpoint", "name": "returned", "model": {"ref": "model:returned"}}
        promised = Endpoint("returned", endpoint.model, slo="1000ms", cache="5s")
        assert definition(promised)["slo"] == "1s"
        with pytest.raises(Invalid, match="'soon' is not a duration"):
            Endpoint("returned", endpoint.model, slo="soon")


def ask_forever(port: int, body: bytes, over: threading.Event, found: list[tuple[int, bytes, Any]]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    while not over.is_set():
        connection.request("POST", "/predict/returned", body, {"content-type": "application/json"})
        reply = connection.getresponse()
        found.append((reply.status, reply.read(), reply.headers.get("retry-after")))
    connection.close()


def test_a_server_that_is_asked_too_much_answers_everybody_one_way_or_the_other(shop: Any, row: dict[str, Any]) -> None:
    shop.edit('ff.Endpoint("returned", returned)', 'ff.Endpoint("returned", returned, slo="2ms")')
    with shop.serve() as server:
        found: list[tuple[int, bytes, Any]] = []
        over = threading.Event()
        asking = [threading.Thread(target=ask_forever, args=(server.port, json.dumps(row).encode(), over, found))
                  for _ in range(16)]
        for thread in asking:
            thread.start()
        until = time.monotonic() + 30
        while len(found) < 500 and time.monotonic() < until:
            time.sleep(0.05)
        over.set()
        for thread in asking:
            thread.join(30)
        statuses = Counter(status for status, *_ in found)
        assert statuses[200] > 0
        assert set(statuses) <= {200, 503, 504}
        assert all(int(again) >= 1 for status, _, again in found if status == 503)
        load = server.get("/")[1]["endpoints"]["returned"]["load"]
        assert load["refused"] == statuses[503]
        assert load["expired"] == statuses[504]
        assert server.ask(row)[0] == 200
        assert server.stop()[0] == 0


def test_requests_read_together_are_answered_by_one_call_with_the_bits_of_one_alone(shop: Any, row: dict[str, Any]) -> None:
    rows = [{**row, "amount": 100.0 + i} for i in range(40)]
    with shop.serve() as server:
        alone = [server.ask(r)[1]["rows"][0]["prediction"] for r in rows]

        async def together() -> list[float]:
            async def one(value: Any) -> float:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                body = json.dumps(value).encode()
                for _ in range(5):
                    writer.write(b"POST /predict/returned HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                                 b"content-length: %d\r\n\r\n%b" % (len(body), body))
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    answer = json.loads(await reader.readexactly(length))
                writer.close()
                return float(answer["rows"][0]["prediction"])

            return await asyncio.gather(*(one(r) for r in rows))

        assert asyncio.run(together()) == alone
        assert server.get("/")[1]["endpoints"]["returned"]["load"]["merged_calls"] > 0
        assert server.stop()[0] == 0


def test_a_client_that_leaves_does_not_harm_those_who_stay(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve() as server:
        body = json.dumps(row).encode()
        asked = (b"POST /predict/returned HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                 b"content-length: %d\r\n\r\n%b" % (len(body), body))
        for _ in range(30):
            made = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
            for s in made:
                s.sendall(asked)
            for s in made:
                s.close()
        assert server.ask(row)[0] == 200
        assert server.stop() == (0, "")
