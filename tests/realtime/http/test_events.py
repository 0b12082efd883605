"""Server-sent events: rows in their order, in pieces that are bounded, an error for a row, an end for the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fivefold.core.errors import Unavailable
from fivefold.realtime.http.http1 import Request, Response
from fivefold.realtime.protocols.events import ROWS_AT_ONCE


@pytest.fixture
def asker(shop: Any) -> Iterator[Any]:
    with shop.app() as made:
        yield made


def stream(asker: Any, rows: Any, **headers: str) -> tuple[int, list[tuple[str, Any]], dict[bytes, bytes]]:
    status, raw, found = asker.raw(json.dumps(rows).encode(), "/predict/returned", content_type="application/json",
                                   accept="text/event-stream", **headers)
    events = [dict(line.split(": ", 1) for line in e.split("\n")) for e in raw.decode().split("\n\n") if e] if status == 200 else []
    return status, [(e["event"], json.loads(e["data"])) for e in events], found


def test_each_row_is_an_event_with_what_the_whole_answer_has(asker: Any, row: dict[str, Any]) -> None:
    rows = [{**row, "amount": float(i)} for i in range(3 * ROWS_AT_ONCE + 5)]
    rows[7], rows[100] = 7, {**row, "amount": 13}  # type: ignore[call-overload]
    status, events, headers = stream(asker, {"rows": rows})
    assert (status, headers[b"content-type"], b"content-length" in headers) == (200, b"text/event-stream", False)
    assert events[-1] == ("end", {"rows": len(rows), "failed": 3})
    whole = asker.ask({"rows": rows})[1]
    assert len(events) == len(rows) + 1
    for i, (name, event) in enumerate(events[:-1]):
        assert (name, event["row"], event["version"]) == ("answer", i, whole["version"])
        for part in ("prediction", "features", "as_of", "error", "warnings"):
            assert event.get(part) == whole["rows"][i].get(part)
    assert {e["id"] for _, e in events[:-1] if "error" not in e}.isdisjoint({r.get("id") for r in whole["rows"]})


def test_a_single_row_is_a_stream_too(asker: Any, row: dict[str, Any]) -> None:
    assert [e[0] for e in stream(asker, row)[1]] == ["answer", "end"]


def test_what_fails_all_rows_has_a_status(asker: Any, row: dict[str, Any]) -> None:
    status, raw, _ = asker.raw(json.dumps(row).encode(), "/predict/returned?at=2020-01-01", content_type="application/json",
                               accept="text/event-stream")
    assert (status, json.loads(raw)["error"]["message"][:20]) == (400, "the feature view 'sp")


def test_a_store_that_goes_ends_the_stream_with_an_error(asker: Any, row: dict[str, Any]) -> None:
    live = asker.live["returned"]
    answer, asked = live.answer, []

    def broken(batch: Any) -> Any:
        asked.append(batch)
        if len(asked) == 3:
            raise Unavailable("the store is gone.", hint="Wait.")
        return answer(batch)

    live.answer = broken
    _, events, _ = stream(asker, {"rows": [row] * (5 * ROWS_AT_ONCE)})
    assert events[-1] == ("error", {"row": 2 * ROWS_AT_ONCE, "error": {"message": "the store is gone.", "hint": "Wait."}})
    assert len(events) == 2 * ROWS_AT_ONCE + 1
    assert len(asked) == 3
    assert {b.size for b in asked} == {ROWS_AT_ONCE}
    assert len({b.at for b in asked[1:]}) == 1, "all rows are answered for one moment"


def test_rows_are_not_answered_for_a_client_that_left(asker: Any, row: dict[str, Any]) -> None:
    body = json.dumps({"rows": [row] * (50 * ROWS_AT_ONCE)}).encode()
    headers = {b"host": b"localhost", b"content-type": b"application/json", b"accept": b"text/event-stream"}

    async def left() -> Any:
        found = asker.app(Request("POST", "/predict/returned", b"", headers, body, ""))
        response = found if isinstance(found, Response) else await found
        assert response.stream is not None
        await anext(response.stream)
        await response.stream.aclose()

    before = asker.live["returned"].counts.rows
    asyncio.run(left())
    assert asker.live["returned"].counts.rows - before <= 2 * ROWS_AT_ONCE
