from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.realtime.protocols.bounds import MOST_ROWS


@pytest.fixture
def asker(shop: Any) -> Iterator[Any]:
    with shop.app() as made:
        yield made


def message(found: Any) -> str:
    return str(found["error"]["message"] + " " + found["error"]["hint"]).strip()


@pytest.mark.parametrize(("path", "method", "status", "says"), [
    ("/nothing", "GET", 404, "there is nothing at '/nothing'. Ask POST /predict/ENDPOINT, GET / or GET /health."),
    ("/predict/returnd", "POST", 404, "no endpoint 'returnd' (have: returned). Did you mean 'returned'?"),
    ("/predict/../health", "POST", 404, "no endpoint '../health' (have: returned)."),
    ("/predict/returned", "GET", 405, "GET is not accepted here. Use POST."),
    ("/health", "POST", 405, "POST is not accepted here. Use GET or HEAD."),
    ("/", "DELETE", 405, "DELETE is not accepted here. Use GET or HEAD."),
])
def test_what_is_not_there_says_what_is(asker: Any, path: str, method: str, status: int, says: str) -> None:
    found, body, headers = asker.send(path=path, method=method)
    assert (found, message(body)) == (status, says)
    assert (b"allow" in headers) == (status == 405)


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_refused(asker: Any, kind: str) -> None:
    status, body, _ = asker.send(b"{}", content_type=kind)
    assert status == 415
    assert message(body) == f"the content type is {kind!r}, not application/json."


def test_a_content_type_may_have_parameters(asker: Any, row: dict[str, Any]) -> None:
    assert asker.send(json.dumps(row).encode(), content_type="Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "[::2]:80"])
def test_only_names_of_this_machine_are_answered(asker: Any, host: str) -> None:
    assert asker.send(path="/health", method="GET", host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:1", "[::1]:80"])
def test_names_of_this_machine_are_answered_with_any_port(asker: Any, host: str) -> None:
    assert asker.send(path="/health", method="GET", host=host)[0] == 200


def test_a_page_of_another_site_is_refused(asker: Any, row: dict[str, Any]) -> None:
    body = json.dumps(row).encode()
    assert asker.send(body, origin="https://evil.example")[0] == 403
    assert asker.send(body, origin="null")[0] == 403
    assert asker.send(body, origin="http://localhost:3000")[0] == 200


@pytest.mark.parametrize("body", [
    b"", b"{", b"nul", b"{'a': 1}", b'{"amount": NaN}', b'{"amount": Infinity}', b'{"amount": -Infinity}',
    b'{"amount": 1e999}', b'{"amount": \xff}', b'{"customer_id": "\xff\xfe"}', b'{"\xff": 1}', b'"\xc3\x28"',
    b'{"customer_id": "\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000, b'{"amount": ' + b"9" * 5000 + b"}", b"{}{}",
    b"\x00", b"\xef\xbb\xbf{}",
])
def test_what_is_not_json_is_refused(asker: Any, body: bytes) -> None:
    status, found, _ = asker.send(body)
    assert status == 400
    assert message(found).startswith("the body is not JSON: ")


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"true", b"[1]"])
def test_a_body_that_is_no_object_is_refused(asker: Any, body: bytes) -> None:
    status, found, _ = asker.send(body)
    assert status == 400
    assert message(found).startswith(f"the body is {json.loads(body)!r}, not an object. Send ")


def test_of_a_key_that_is_there_twice_the_last_counts(asker: Any) -> None:
    status, found, _ = asker.send(b'{"customer_id": "c1", "amount": "x", "amount": 2.5}')
    assert status == 200
    assert found["rows"][0]["features"]["amount"]["value"] == 2.5


@pytest.mark.parametrize("amount", ["100000000000000000000000", "9" * 309, "-" + "9" * 309])
def test_a_huge_whole_number_is_a_float_or_refused(asker: Any, amount: str) -> None:
    status, found, _ = asker.send(f'{{"customer_id": "c1", "amount": {amount}}}'.encode())
    assert status == 400
    assert "amount" in message(found)
    assert len(message(found)) < 300


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (MOST_ROWS, 200), (MOST_ROWS + 1, 400)])
def test_a_request_holds_one_row_to_ten_thousand(asker: Any, row: dict[str, Any], count: int, status: int) -> None:
    found, body = asker.ask({"rows": [row] * count})
    assert found == status
    if status == 200:
        assert len(body["rows"]) == count
        assert len({a["id"] for a in body["rows"]}) == count
    else:
        assert message(body) == f"rows holds {count} rows (accepted: 1 to {MOST_ROWS})."


def test_health_says_who_waits_and_what_is_wrong(shop: Any, untrained: Any) -> None:
    with shop.app() as asker:
        assert asker.send(path="/v2/health/ready", method="GET")[:2] == (200, {
            "ready": True, "draining": False, "waiting_for_a_champion": [], "trouble": {},
            "predictions_not_logged": 0, "predictions_left_out": {}, "predictions_logged_one_of": 1, "log_trouble": None})
        asker.app.draining = True
        status, body, _ = asker.send(path="/v2/health/ready", method="GET")
        assert (status, body["ready"]) == (503, False)
        assert asker.send(path="/v2/health/live", method="GET")[0] == 200
    with untrained.app() as asker:
        status, body, _ = asker.send(path="/v2/health/ready", method="GET")
        assert (status, body["ready"], body["waiting_for_a_champion"]) == (503, False, ["returned"])
        status, body = asker.ask({"customer_id": "c1", "amount": 1.0})
        assert status == 503
        assert message(body) == (
            "the model of the endpoint 'returned' has no champion yet. Run `fivefold train returned`.")


def test_a_fault_of_ours_fails_one_request_and_says_nothing_of_the_inside(
    asker: Any, row: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asker.live["returned"]._using._looked_up = None
    status, body = asker.ask(row)
    assert status == 500
    assert message(body) == "something is wrong here, not with the request. The server's log says what."
    assert "TypeError" in capsys.readouterr().err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([10**400, -(2**63), 2**64, "c1", "\x00", "9" * 600]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["customer_id", "amount", "rows", "x", ""]), inner, max_size=4), max_leaves=12)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), JSON.map(lambda v: json.dumps(v).encode()),
                 JSON.map(lambda v: json.dumps({"customer_id": "c1", "amount": v}).encode()),
                 st.lists(JSON, max_size=5).map(lambda v: json.dumps({"rows": v}).encode()),
                 st.tuples(st.integers(0, 40), st.binary(max_size=3)).map(
                     lambda cut: b'{"customer_id": "c1", "amount": 12.5}'[:cut[0]] + cut[1])))
def test_no_body_is_a_fault_of_ours(asker: Any, body: bytes) -> None:
    status, found, _ = asker.send(body)
    assert status in (200, 400), found
    if status == 200:
        assert all(("id" in a) != ("error" in a) for a in found["rows"])


def test_another_moment_can_be_asked_for(asker: Any, row: dict[str, Any]) -> None:
    body = json.dumps(row).encode()
    for path, moment in (("", "2026-02-25T06:13:20Z"), ("?at=2026-03-01", "2026-03-01T00:00:00Z"),
                         ("?at=2026-02-25T07:13:20.5%2B01:00", "2026-02-25T06:13:20.500000Z")):
        status, found, _ = asker.send(body, f"/predict/returned{path}")
        assert (status, found["rows"][0]["as_of"]) == (200, moment)
    counts = [asker.send(body, f"/predict/returned{p}")[1]["rows"][0]["features"]["spending.count_30d"]["value"]
              for p in ("", "?at=2026-04-25")]
    assert counts[0] > counts[1] == 0, "a window ends at the moment asked for"


@pytest.mark.parametrize(("query", "says"), [
    ("at=yesterday", "at='yesterday' is not a moment. Write ISO 8601, for instance 2013-11-01T06:30:00Z."),
    ("at=", "at='' is not a moment. Write ISO 8601, for instance 2013-11-01T06:30:00Z."),
    ("at=%ff", "at='\ufffd' is not a moment. Write ISO 8601, for instance 2013-11-01T06:30:00Z."),
    ("att=2026-03-01", "the query is 'att=2026-03-01' (accepted: at=MOMENT, once)."),
    ("at=2026-03-01&at=2026-03-01", "the query is 'at=2026-03-01&at=2026-03-01' (accepted: at=MOMENT, once)."),
    ("at=2026-02-25T06:13:19Z", "the feature view 'spending' answers for 2026-02-25T06:13:20Z and later, "
     "not for 2026-02-25T06:13:19Z. Ask for a later moment; what was known earlier is in history."),
])
def test_a_moment_that_cannot_be_answered_is_refused(asker: Any, row: dict[str, Any], query: str, says: str) -> None:
    status, found, _ = asker.send(json.dumps(row).encode(), f"/predict/returned?{query}")
    assert status == 400
    assert message(found).startswith(says)
