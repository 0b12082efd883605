"""The seam: what a batch carries to the predictor, and what a predictor of somebody else's may do with it."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from fivefold.core.errors import Invalid, NotFound
from fivefold.core.types import Type
from fivefold.realtime.endpoints.predictor import predict
from fivefold.realtime.http.front import App
from fivefold.realtime.protocols.batch import Batch, Outcome
from fivefold.realtime.protocols.bounds import Expired
from fivefold.realtime.protocols.rows import batch_of

TENSORS = {"inputs": [{"name": "customer_id", "datatype": "BYTES", "shape": [2], "data": ["c1", "c2"]},
                      {"name": "amount", "datatype": "FP64", "shape": [2], "data": [1, 2.5]}]}


@pytest.fixture
def asker(one_application: Any) -> Any:
    return one_application


def infer(asker: Any, body: Any, path: str = "/v2/models/returned/infer", **headers: str) -> tuple[int, Any, dict[bytes, bytes]]:
    status, raw, found = asker.raw(json.dumps(body).encode(), path, **headers)
    return status, raw if b"content-encoding" in found else json.loads(raw), found


def test_a_piece_of_a_batch_is_a_batch_with_its_own_refusals() -> None:
    made = batch_of([{"n": 1}, {"n": "x"}, {"n": 3}, 4, {"n": None}], {"n": Type.INT64}, id="i", priority=2)
    assert (list(made.refused), made.columns["n"]) == ([1, 3], [1, None, 3, None, None])
    piece = made.piece(1, 4)
    assert (piece.size, list(piece.refused), piece.columns["n"], piece.id, piece.priority) == (3, [0, 2], [None, 3, None], "i", 2)
    assert made.piece(4, 99).rows() == [{"n": None}]
    assert Batch({}, {}, 2).rows() == [{}, {}]


def test_a_batch_whose_time_is_over_is_not_computed(asker: Any) -> None:
    live = asker.live["returned"]
    rows = [{"customer_id": "c1", "amount": 1.0}]
    failed = live.counts.failed
    with pytest.raises(Expired):
        live.answer(batch_of(rows, live.signature.fields, deadline=time.perf_counter_ns() - 1))
    assert live.counts.failed == failed + 1
    status, found, _ = infer(asker, {**TENSORS, "parameters": {"timeout": 1}})
    assert (status, found["error"]) == (
        504, "the time that the request was given was over before it was answered. Give it more.")
    assert infer(asker, {**TENSORS, "parameters": {"timeout": 10**9}})[0] == 200


def test_a_batch_that_was_read_for_other_fields_is_checked_again(asker: Any) -> None:
    live = asker.live["returned"]
    found = live.answer(batch_of([{"customer_id": "c1"}], {"customer_id": Type.STRING}))
    assert found.errors[0].message == "the field 'amount' is missing."
    same = dict(live.signature.fields)
    assert not live.answer(batch_of([{"customer_id": "c1", "amount": 1}], same)).errors


def test_a_version_that_went_meanwhile_is_not_answered_by_another(asker: Any) -> None:
    live = asker.live["returned"]
    with pytest.raises(NotFound, match="does not serve the version '7' \\(serves: 1\\)"):
        live.answer(batch_of([{}], live.signature.fields, version="7"))


def test_an_outcome_with_an_error_names_the_first_row() -> None:
    out = Outcome(None, 0, [], [None], {3: Invalid("later."), 1: Invalid("sooner.", hint="Mend.")}, [], [], [])  # type: ignore[arg-type]
    with pytest.raises(Invalid) as found:
        out.require_whole()
    assert str(found.value) == "row 1: sooner. Mend."


def test_every_protocol_comes_to_the_predictor_that_was_given(asker: Any) -> None:
    seen: list[Batch] = []

    async def watched(live: Any, batch: Batch) -> Outcome:
        seen.append(batch)
        await asyncio.sleep(0)
        return await predict(live, batch)

    before = asker.app
    asker.app = App(asker.live, asker.log, predict=watched)
    try:
        row = {"customer_id": "c1", "amount": 1}
        for path, body in (("/predict/returned", row), ("/v2/models/returned/infer", {**TENSORS, "id": "q", "parameters": {
                "priority": 3, "timeout": 10**9}}), ("/v1/models/returned:predict", {"instances": [row]}),
                ("/invocations", {"inputs": [row]})):
            assert asker.raw(json.dumps(body).encode(), path, content_type="application/json")[0] == 200
    finally:
        asker.app = before
    assert [b.size for b in seen] == [1, 2, 1, 1]
    assert all(list(b.columns) == ["customer_id", "amount"] and next(iter(b.columns["amount"])) == 1.0 for b in seen)
    assert (seen[1].id, seen[1].priority, seen[1].deadline) == ("q", 3, seen[1].started + 10**12)


@pytest.mark.parametrize("wanted", ["gzip", "deflate", "br, gzip;q=0.5", "gzip;q=0, identity", "gzip; q=0.000", ""])
def test_an_answer_is_compressed_when_it_is_long_and_the_client_takes_it(asker: Any, wanted: str) -> None:
    import zlib

    names, amounts = ["c1"] * 300, [float(i) for i in range(20, 320)]
    body = {"inputs": [{"name": "customer_id", "datatype": "BYTES", "shape": [300], "data": names},
                       {"name": "amount", "datatype": "FP64", "shape": [300], "data": amounts}]}
    status, raw, headers = infer(asker, body, accept_encoding=wanted)
    assert status == 200
    encoding = headers.get(b"content-encoding", b"").decode()
    assert encoding == ("" if "q=0," in wanted or "0.000" in wanted else "deflate" if wanted == "deflate" else "gzip" if wanted else "")
    if encoding:
        raw = json.loads(gzip.decompress(raw) if encoding == "gzip" else zlib.decompress(raw))
        assert headers[b"vary"] == b"accept-encoding"
    assert raw["outputs"][0]["shape"] == [300]
    assert b"content-encoding" not in infer(asker, TENSORS, accept_encoding=wanted)[2], "short answers are not compressed"


def changed(place: int, **more: Any) -> dict[str, Any]:
    inputs = [dict(i) for i in TENSORS["inputs"]]
    inputs[place].update(more)
    return {"inputs": inputs}


@pytest.mark.parametrize(("body", "says"), [
    ({}, "the body is not what is accepted here: Object missing required field `inputs`."),
    (changed(1, shape=["a"]), "the body is not what is accepted here: Expected `int`, got `str` - at `$.inputs[1].shape[0]`."),
    (changed(1, datatype="BOOL"), "the input 'amount' has the datatype 'BOOL' (accepted: FP64, FP32, FP16, "),
    (changed(1, datatype="INT8", data=[1, 200]), "row 1: the input 'amount' is 200, which is not INT8."),
    (changed(1, data=[1, "x"]), "row 1: the input 'amount' is 'x', which is not FP64."),
    (changed(1, data=[1]), "the data of the input 'amount' has 1 values, and its shape 2."),
    (changed(1, data={}), "the data of the input 'amount' is {}, not a list."),
    (changed(1, shape=[2, 2]), "the input 'amount' has the shape [2, 2] (accepted: [n] or [n, 1], n rows)."),
    (changed(1, shape=[0], data=[]), "there are 0 rows in the shape of the input 'amount' (accepted: 1 to 10000)."),
    (changed(1, shape=[3], data=[1, 2, 3]), "the input 'amount' has 3 rows, and 'customer_id' has 2."),
    (changed(1, name="amont"), "the input 'amount' is missing. Send all of: customer_id, amount."),
    (changed(1, name="customer_id"), "the input 'customer_id' is there twice."),
    ({"inputs": [*TENSORS["inputs"], {"name": "z", "datatype": "FP64", "shape": [2], "data": [1, 2]}]},
     "there is no input 'z' (accepted: customer_id, amount)."),
    (changed(1, parameters={"binary_data_size": 16}), "the input 'amount' has both data and binary_data_size."),
    ({**TENSORS, "outputs": [{"name": "prediction"}, {"name": "prediction"}]}, "the output 'prediction' is wanted twice."),
    ({**TENSORS, "parameters": {"timeout": -1}}, "the parameter 'timeout' is -1 (accepted: a whole number, microseconds)."),
    ({**TENSORS, "parameters": {"binary_data_output": 1}}, "the parameter 'binary_data_output' is 1 (accepted: true, false)."),
    ({**TENSORS, "id": "x" * 1001}, "the id has 1001 characters (accepted: 1000 at most)."),
])
def test_an_error_names_the_tensor_what_was_given_and_what_is_accepted(asker: Any, body: Any, says: str) -> None:
    status, found, _ = infer(asker, body)
    assert status == 400
    assert found["error"].startswith(says)


@pytest.mark.parametrize(("body", "status", "says"), [
    (changed(1, shape=[10_001]), 413, "there are 10001 rows in the shape of the input 'amount' (accepted: 1 to 10000)."),
    (changed(1, parameters={"shared_memory_region": "r"}), 501, "the input 'amount' is in shared memory."),
    (changed(1, datatype="BF16"), 501, "the input 'amount' has the datatype 'BF16'"),
    ({**TENSORS, "outputs": [{"name": "prediction", "parameters": {"classification": 2}}]}, 501, "the output 'prediction': "),
    ({**TENSORS, "outputs": [{"name": "predicted"}]}, 404, "no output 'predicted' (have: prediction)."),
    ({**TENSORS, "parameters": {"sequence_id": 3}}, 501, "the parameter 'sequence_id' is 3"),
])
def test_what_is_not_here_has_another_status(asker: Any, body: Any, status: int, says: str) -> None:
    found, told, _ = infer(asker, body)
    assert (found, told["error"][:len(says)]) == (status, says)


def test_without_a_champion_every_protocol_says_so(untrained: Any) -> None:
    with untrained.app() as asker:
        for method, path in (("GET", "/v2/models/returned"), ("GET", "/v2/models/returned/ready"),
                             ("POST", "/v2/models/returned/infer"), ("POST", "/v1/models/returned:predict"),
                             ("GET", "/v1/models/returned"), ("GET", "/api/2.0/endpoints/returned")):
            status, raw, _ = asker.raw(b"{}", path, method, content_type="application/json")
            assert status == 503
            assert b"has no champion yet" in raw
        assert json.loads(asker.raw(b"", "/v2/repository/index")[1])[0]["state"] == "UNAVAILABLE"
        assert json.loads(asker.raw(b'{"ready": true}', "/v2/repository/index")[1]) == []
        assert json.loads(asker.raw(b"", "/v2/models/stats", "GET")[1]) == {"model_stats": []}
