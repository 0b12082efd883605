"""One row is answered with the same bits whatever protocol it came by, alone or among others."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.realtime.grpc.oip import SERVICE
from fivefold.realtime.protos import inference_pb2 as pb

DATATYPES = {"cents": "INT64", "customer_id": "BYTES", "amount": "FP64", "order_id": "INT64", "vip": "BOOL", "shop": "BYTES"}
KINDS = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}
RETURNED = st.fixed_dictionaries({
    "customer_id": st.sampled_from(["c1", "c2", "nobody", "", "ü☃"]) | st.text(st.characters(codec="utf-8"), max_size=5),
    "amount": st.none() | st.floats(0, 999.9).filter(lambda v: v != 13)})
WHAT = st.fixed_dictionaries({
    "customer_id": st.sampled_from(["c1", "c2", "nobody"]), "order_id": st.integers(-(2**53), 2**53), "vip": st.booleans(),
    "shop": st.sampled_from(["s0", "s1", "s4", "elsewhere"])})


class Asker:
    """The same rows by every protocol, over connections that stay open."""

    def __init__(self, server: Any, endpoint: str) -> None:
        self.endpoint = endpoint
        self.http = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.channel = grpc.insecure_channel(server.grpc)
        self.infer = self.channel.unary_unary(
            f"{SERVICE}ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString)
        self.classes: list[str] = []

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.channel.close()

    def post(self, path: str, body: bytes, **headers: str) -> Any:
        self.http.request("POST", path, body, {n.replace("_", "-"): v for n, v in headers.items()})
        reply = self.http.getresponse()
        raw = reply.read()
        assert reply.status == 200, raw
        return raw if "inference-header-content-length" in reply.headers or headers.get("accept") else json.loads(raw)

    def own(self, rows: Any) -> list[Any]:
        found = [r["prediction"] for r in self.post(
            f"/predict/{self.endpoint}", json.dumps({"rows": rows}).encode(), content_type="application/json")["rows"]]
        self.classes = list(found[0]) if isinstance(found[0], dict) else []
        return [[p[c] for c in self.classes] for p in found] if self.classes else found

    def alone(self, rows: Any) -> list[Any]:
        return [self.own([row])[0] for row in rows]

    def events(self, rows: Any) -> list[Any]:
        raw = self.post(f"/predict/{self.endpoint}", json.dumps({"rows": rows}).encode(), content_type="application/json",
                        accept="text/event-stream").decode()
        found = [json.loads(e.partition("data: ")[2]) for e in raw.split("\n\n") if e.startswith("event: answer")]
        assert [e["row"] for e in found] == list(range(len(rows)))
        return [[e["prediction"][c] for c in self.classes] if self.classes else e["prediction"] for e in found]

    def tensors(self, rows: Any) -> list[tuple[str, str, list[Any]]]:
        return [(n, DATATYPES[n], [r[n] for r in rows]) for n in rows[0]]

    def oip_json(self, rows: Any) -> list[Any]:
        body = {"inputs": [{"name": n, "datatype": d, "shape": [len(v)], "data": v} for n, d, v in self.tensors(rows)]}
        out = self.post(f"/v2/models/{self.endpoint}/infer", json.dumps(body).encode())["outputs"][-1]
        return self.shaped(out["data"])

    def raw(self, rows: Any) -> list[bytes]:
        return [b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in v) if d == "BYTES"
                else np.array([float("nan") if x is None else x for x in v], KINDS[d]).tobytes()
                for _, d, v in self.tensors(rows)]

    def oip_binary(self, rows: Any) -> list[Any]:
        raws = self.raw(rows)
        head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [
            {"name": n, "datatype": d, "shape": [len(v)], "parameters": {"binary_data_size": len(raw)}}
            for (n, d, v), raw in zip(self.tensors(rows), raws, strict=True)]}).encode()
        found = self.post(f"/v2/models/{self.endpoint}/infer", b"".join([head, *raws]),
                          inference_header_content_length=str(len(head)))
        count = len(rows) * (len(self.classes) or 1)
        return self.shaped(np.frombuffer(found[-8 * count:], "<f8").tolist())

    def oip_grpc(self, rows: Any) -> list[Any]:
        request = pb.ModelInferRequest(model_name=self.endpoint, raw_input_contents=self.raw(rows))
        for n, d, v in self.tensors(rows):
            request.inputs.add(name=n, datatype=d, shape=[len(v)])
        return self.shaped(np.frombuffer(self.infer(request).raw_output_contents[-1], "<f8").tolist())

    def oip_typed(self, rows: Any) -> list[Any]:
        request = pb.ModelInferRequest(model_name=self.endpoint)
        for n, d, v in self.tensors(rows):
            tensor = request.inputs.add(name=n, datatype=d, shape=[len(v), 1])
            field = {"BYTES": "bytes", "FP64": "fp64", "INT64": "int64", "BOOL": "bool"}[d]
            getattr(tensor.contents, f"{field}_contents").extend(
                [float("nan") if x is None else x.encode() if d == "BYTES" else x for x in v])
        return self.shaped(list(self.infer(request).outputs[-1].contents.fp64_contents))

    def shaped(self, flat: list[float]) -> list[Any]:
        width = len(self.classes)
        return [flat[i:i + width] for i in range(0, len(flat), width)] if width else flat

    def tfserving(self, rows: Any) -> list[Any]:
        found = self.post(f"/v1/models/{self.endpoint}:predict", json.dumps({"instances": rows}).encode())["predictions"]
        return [p["probabilities"] for p in found] if self.classes else found

    def tfserving_columns(self, rows: Any) -> list[Any]:
        body = json.dumps({"inputs": {n: v for n, _, v in self.tensors(rows)}}).encode()
        found = self.post(f"/v1/models/{self.endpoint}:predict", body)["outputs"]
        return found["probabilities"] if self.classes else found

    def mlflow(self, rows: Any) -> list[Any]:
        return self.post(f"/endpoints/{self.endpoint}/invocations", json.dumps({"dataframe_records": rows}).encode(),
                         content_type="application/json")["predictions"]


PROTOCOLS = ["alone", "events", "oip_json", "oip_binary", "oip_grpc", "oip_typed", "tfserving", "tfserving_columns", "mlflow"]


@pytest.fixture(scope="module")
def returned(server: Any) -> Iterator[Asker]:
    with Asker(server, "returned") as made:
        yield made


@pytest.fixture(scope="module")
def what(server: Any) -> Iterator[Asker]:
    with Asker(server, "what") as made:
        yield made


def bits(found: list[Any]) -> list[bytes]:
    return [np.array(row, np.float64).tobytes() for row in found]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RETURNED, min_size=1, max_size=6))
def test_a_number_has_the_same_bits_over_every_protocol(returned: Asker, rows: list[dict[str, Any]]) -> None:
    said = bits(returned.own(rows))
    for protocol in PROTOCOLS:
        assert bits(getattr(returned, protocol)(rows)) == said, protocol


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(WHAT, min_size=1, max_size=6))
def test_probabilities_have_the_same_bits_over_every_protocol(what: Asker, rows: list[dict[str, Any]]) -> None:
    said = bits(what.own(rows))
    for protocol in PROTOCOLS:
        assert bits(getattr(what, protocol)(rows)) == said, protocol


OFFER = st.fixed_dictionaries({
    "customer_id": st.sampled_from(["c1", "c2", "nobody", ""]), "cents": st.integers(0, 99_999).filter(lambda v: v != 1300)})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OFFER, min_size=1, max_size=6))
def test_a_label_that_steps_make_is_the_same_over_every_protocol(server: Any, rows: list[dict[str, Any]]) -> None:
    with Asker(server, "offer") as offer:
        said = offer.own(rows)
        assert set(said) <= {"free return", "none"}
        for protocol in ("alone", "events", "oip_json", "tfserving", "tfserving_columns", "mlflow"):
            assert getattr(offer, protocol)(rows) == said, protocol
        texts = b"".join(struct.pack("<I", len(t)) + t.encode() for t in said)
        request = pb.ModelInferRequest(model_name="offer", raw_input_contents=offer.raw(rows))
        typed = pb.ModelInferRequest(model_name="offer")
        for n, d, v in offer.tensors(rows):
            request.inputs.add(name=n, datatype=d, shape=[len(v)])
            tensor = typed.inputs.add(name=n, datatype=d, shape=[len(v)])
            field = {"BYTES": "bytes_contents", "INT64": "int64_contents"}[d]
            getattr(tensor.contents, field).extend([x.encode() if d == "BYTES" else x for x in v])
        assert offer.infer(request).raw_output_contents[0] == texts
        (output,) = offer.infer(typed).outputs
        assert (output.datatype, [t.decode() for t in output.contents.bytes_contents]) == ("BYTES", said)
