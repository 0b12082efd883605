"""TensorFlow Serving's REST, as its clients speak it: plain JSON."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import requests

ROWS = [{"customer_id": f"c{i}", "amount": None if i == 2 else 1.5 * i} for i in range(6)]
WHATS = [{"customer_id": "c1", "order_id": i, "vip": i % 2 == 0, "shop": f"s{i}"} for i in range(4)]
COLUMNS = {n: [r[n] for r in ROWS] for n in ROWS[0]}


def said(server: Any, rows: list[dict[str, Any]], endpoint: str = "returned") -> list[Any]:
    return [r["prediction"] for r in server.ask({"rows": rows}, f"/predict/{endpoint}")[1]["rows"]]


def post(server: Any, body: Any, path: str = "/v1/models/returned:predict") -> requests.Response:
    how = {"data": body} if isinstance(body, str | bytes) else {"json": body}
    return requests.post(f"http://127.0.0.1:{server.port}{path}", timeout=20, **how)


@pytest.mark.parametrize("of", ["", "/versions/1", "/labels/champion"])
def test_rows_and_columns_give_the_same(server: Any, of: str) -> None:
    path = f"/v1/models/returned{of}:predict"
    assert post(server, {"instances": ROWS, "signature_name": "serving_default"}, path).json() == {
        "predictions": said(server, ROWS)}
    assert post(server, {"inputs": COLUMNS}, path).json() == {"outputs": said(server, ROWS)}


def test_two_outputs_come_in_objects(server: Any) -> None:
    whole = said(server, WHATS, "what")
    classes = list(whole[0])
    rows = [{"prediction": max(p, key=p.get), "probabilities": [p[c] for c in classes]} for p in whole]
    path = "/v1/models/what:predict"
    assert post(server, {"instances": WHATS}, path).json() == {"predictions": rows}
    columns = {n: [r[n] for r in WHATS] for n in WHATS[0]}
    assert post(server, {"inputs": columns}, path).json() == {"outputs": {
        n: [r[n] for r in rows] for n in ("prediction", "probabilities")}}


def test_base64_lists_of_one_and_bare_nan(server: Any) -> None:
    text = base64.b64encode(b"c1").decode()
    body = f'{{"instances": [{{"customer_id": {{"b64": "{text}"}}, "amount": [2.5]}}, {{"customer_id": ["c1"], "amount": NaN}}]}}'
    plain = [{"customer_id": "c1", "amount": 2.5}, {"customer_id": "c1", "amount": None}]
    assert post(server, body).json() == {"predictions": said(server, plain)}


def test_status_and_metadata(server: Any) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/models/what"
    for of in ("", "/versions/1", "/labels/champion"):
        (status,) = requests.get(url + of, timeout=20).json()["model_version_status"]
        assert status == {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    told = requests.get(url + "/metadata", timeout=20).json()
    assert told["model_spec"] == {"name": "what", "signature_name": "", "version": "1"}
    default = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert {n: i["dtype"] for n, i in default["inputs"].items()} == {
        "customer_id": "DT_STRING", "order_id": "DT_INT64", "vip": "DT_BOOL", "shop": "DT_STRING"}
    assert [d["size"] for d in default["outputs"]["probabilities"]["tensor_shape"]["dim"]] == ["-1", "3"]


@pytest.mark.parametrize(("body", "path", "status", "says"), [
    ({"instances": ROWS, "inputs": COLUMNS}, "", 400, "the body has both instances and inputs."),
    ({}, "", 400, "the body has neither instances and inputs."),
    ([], "", 400, "the body is [], not an object."),
    ({"instances": []}, "", 400, "there are 0 instances (accepted: 1 to 10000)."),
    ({"instances": [ROWS[0], {**ROWS[0], "amount": "x"}]}, "", 400, "row 1: the field 'amount' is 'x'"),
    ({"instances": [ROWS[0], {**ROWS[0], "amount": -2}]}, "", 400, "row 1: the row breaks the check 'amount >= 0'"),
    ({"instances": [1]}, "", 400, "row 0: a row is an object, not 1."),
    ({"inputs": {**COLUMNS, "amount": [1]}}, "", 400, "the column 'amount' has 1 values, and 'customer_id' has 6."),
    ({"inputs": {"amount": [1]}}, "", 400, "the column 'customer_id' is missing."),
    ({"instances": ROWS, "signature_name": "other"}, "", 404, "no signature 'other' (have: serving_default)."),
    ({"instances": [{"customer_id": {"b64": "!"}, "amount": 1}]}, "", 400, "row 0: b64 is not base64 of UTF-8"),
    ({"instances": ROWS}, "/v1/models/nothing:predict", 404, "no model 'nothing' (have: offer, returned, what)."),
    ({"instances": ROWS}, "/v1/models/returned/versions/2:predict", 404, "the endpoint 'returned' does not serve the version '2'"),
    ({"instances": ROWS}, "/v1/models/returned/labels/canary:predict", 404, "no label 'canary' (have: champion)."),
    ({"examples": ROWS}, "/v1/models/returned:classify", 501, "only :predict is answered here"),
    ("{", "", 400, "the body is not JSON: "),
])
def test_errors_are_one_text(server: Any, body: Any, path: str, status: int, says: str) -> None:
    answer = post(server, body, path or "/v1/models/returned:predict")
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"].startswith(says)
