"""MLflow's own clients, unmodified: the scoring server's, and the one of deployments."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest
import requests
from mlflow.deployments import get_deploy_client

with warnings.catch_warnings():
    # it warns about its own types as soon as it is imported
    warnings.simplefilter("ignore")
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

ROWS = [{"customer_id": f"c{i}", "amount": None if i == 2 else 1.5 * i} for i in range(6)]
WHATS = [{"customer_id": "c1", "order_id": i, "vip": i % 2 == 0, "shop": f"s{i}"} for i in range(4)]


def said(server: Any, rows: list[dict[str, Any]], endpoint: str = "returned") -> list[Any]:
    return [r["prediction"] for r in server.ask({"rows": rows}, f"/predict/{endpoint}")[1]["rows"]]


def post(server: Any, path: str, body: Any, **headers: str) -> requests.Response:
    how = {"data": body, "headers": headers} if isinstance(body, str | bytes) else {"json": body}
    return requests.post(f"http://127.0.0.1:{server.port}{path}", timeout=20, **how)


def test_the_scoring_client_gets_predictions_for_a_data_frame_and_for_records(single: Any) -> None:
    client = ScoringServerClient("127.0.0.1", single.port)
    client.wait_server_ready()
    assert client.get_version().startswith("fivefold ")
    frame = pd.DataFrame(ROWS)
    assert frame["amount"].isna().sum() == 1
    for data in (frame, ROWS):
        assert client.invoke(data).get_predictions("ndarray").tolist() == said(single, ROWS)
    assert client.invoke(frame).get_predictions()[0].tolist() == said(single, ROWS)


def test_the_deployments_client_lists_endpoints_and_asks_them(server: Any) -> None:
    client = get_deploy_client(f"http://127.0.0.1:{server.port}")
    assert [(e.name, e.model.provider) for e in client.list_endpoints()] == [(n, "fivefold") for n in ("returned", "what", "offer")]
    found = client.get_endpoint("what")
    assert found.endpoint_url == f"http://127.0.0.1:{server.port}/endpoints/what/invocations"
    assert client.predict(endpoint="returned", inputs={"dataframe_records": ROWS})["predictions"] == said(server, ROWS)
    whole = [list(p.values()) for p in said(server, WHATS, "what")]
    assert client.predict(endpoint="what", inputs={"dataframe_records": WHATS})["predictions"] == whole


@pytest.mark.parametrize("body", [
    {"dataframe_records": ROWS}, {"instances": ROWS}, {"inputs": ROWS}, {"inputs": ROWS, "params": {}},
    {"inputs": {n: [r[n] for r in ROWS] for n in ROWS[0]}}, {"instances": {n: [[r[n]] for r in ROWS] for n in ROWS[0]}},
    {"dataframe_split": {"columns": ["amount", "customer_id"], "index": [9, 8, 7, 6, 5, 4],
                         "data": [[r["amount"], r["customer_id"]] for r in ROWS]}},
])
def test_every_form_of_json_gives_the_same(single: Any, body: Any) -> None:
    answer = post(single, "/invocations", body)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"predictions": said(single, ROWS)}


def test_csv_of_pandas_and_numbers_that_pandas_made_floats(server: Any) -> None:
    frame = pd.DataFrame(WHATS)
    frame["order_id"] = frame["order_id"].astype(float)
    frame["vip"] = [True, None, True, False]
    rows = [{**r, "vip": None if i == 1 else r["vip"]} for i, r in enumerate(WHATS)]
    whole = [list(p.values()) for p in said(server, rows, "what")]
    for body, kind in ((frame.to_csv(index=False), "text/csv"),
                       ('{"dataframe_split": ' + frame.to_json(orient="split") + "}", "application/json; charset=utf-8")):
        answer = post(server, "/endpoints/what/invocations", body, **{"content-type": kind})
        assert answer.status_code == 200, answer.text
        assert answer.json()["predictions"] == whole


@pytest.mark.parametrize(("body", "kind", "status", "says"), [
    ('{"dataframe_records": [{"customer_id": "c1", "amount": 1}, {"customer_id": "c1", "amount": "x"}]}',
     "application/json", 400, "row 1: the field 'amount' is 'x', which is not float64."),
    ('{"dataframe_records": [{"customer_id": "c1", "amount": 1}, {"customer_id": "c1", "amount": -1}]}',
     "application/json", 400, "row 1: the row breaks the check 'amount >= 0': amount = -1.0."),
    ('{"dataframe_records": []}', "application/json", 400, "there are 0 rows in dataframe_records (accepted: 1 to 10000)."),
    ('{"rows": []}', "application/json", 400, "the body has the key 'rows' (accepted: dataframe_split, "),
    ("{}", "application/json", 400, "the body has 0 of dataframe_split, dataframe_records, instances, inputs, not one."),
    ('{"inputs": [{}], "params": {"at": 1}}', "application/json", 400, "params is {'at': 1}: an endpoint takes none."),
    ('{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}', "application/json", 400,
     "the column 'a' is there twice."),
    ("customer_id,amount\nc1,1,2\n", "text/csv", 400, "row 0 has 3 cells, and the header 2."),
    ("customer_id,amount\nc1,x\n", "text/csv", 400, "row 0: the field 'amount' is 'x', which is not float64."),
    ("customer_id,amount\nc1,1_0\n", "text/csv", 400, "row 0: the field 'amount' is '1_0', which is not float64."),
    ("customer_id,amount\n", "text/csv", 400, "there are 0 rows"),
    ("customer_id\nc1\n", "text/csv", 400, "the column 'amount' is missing."),
    ("PAR1", "application/vnd.apache.parquet", 415, "the content type is 'application/vnd.apache.parquet'"),
    ("{}", "application/json; charset=latin-1", 415, "the charset is 'latin-1' (accepted: utf-8)."),
])
def test_errors_have_the_shape_of_mlflow(single: Any, body: str, kind: str, status: int, says: str) -> None:
    answer = post(single, "/invocations", body, **{"content-type": kind})
    assert answer.status_code == status
    assert set(answer.json()) == {"error_code", "message"}
    assert answer.json()["message"].startswith(says)


def test_with_several_endpoints_one_must_be_named(server: Any) -> None:
    answer = post(server, "/invocations", {"inputs": ROWS})
    assert answer.status_code == 404
    assert answer.json()["message"].endswith("Ask /endpoints/NAME/invocations (have: offer, returned, what).")
