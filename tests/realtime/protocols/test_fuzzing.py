"""No bytes make a decoder do anything but give a batch or refuse them with a reason."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fivefold.core.errors import Conflict, FivefoldError, Unavailable
from fivefold.core.types import Type
from fivefold.realtime.protocols import mlflow, oip_grpc, oip_rest, own, tfserving
from fivefold.realtime.protocols.batch import Batch, Signature
from fivefold.realtime.protocols.bounds import MOST_BYTES, MOST_ROWS, inflated
from fivefold.realtime.protos import inference_pb2 as pb

FIELDS = {"who": Type.STRING, "n": Type.INT64, "x": Type.FLOAT64, "yes": Type.BOOL, "when": Type.TIMESTAMP}
SIGNATURE = Signature("e", "m", 3, "k", FIELDS, "multiclass", "p", ("a", "b"))
ONE = Signature("e", "m", 3, "k", {"n": Type.INT64}, "regression", "p")
DATATYPES = ["BYTES", "INT64", "FP64", "BOOL", "INT64"]
HELD = {Type.STRING: str, Type.INT64: int, Type.FLOAT64: float, Type.BOOL: bool, Type.TIMESTAMP: int}
ROW = {"who": "é", "n": 1, "x": 2.5, "yes": True, "when": "2026-01-01"}
COLUMNS = {"who": ["a", "b"], "n": [1, None], "x": [0.5, None], "yes": [True, False], "when": [1, "2026-01-01"]}
TEXTS = struct.pack("<I", 1) + b"a" + struct.pack("<I", 0)
RAWS = [TEXTS, np.array([1, 2], "<i8").tobytes(), np.array([0.5, np.nan], "<f8").tobytes(), b"\x00\x01",
        np.array([3, 4], "<i8").tobytes()]
HEAD = json.dumps({"id": "i", "inputs": [
    {"name": n, "datatype": d, "shape": [2], "parameters": {"binary_data_size": len(r)}}
    for n, d, r in zip(FIELDS, DATATYPES, RAWS, strict=True)], "outputs": [{"name": "prediction"}],
    "parameters": {"timeout": 5, "priority": 1}}).encode()
BINARY = HEAD + b"".join(RAWS)
TENSORS = json.dumps({"inputs": [
    {"name": n, "datatype": d, "shape": [2], "data": c if n != "when" else [1, 2]}
    for (n, c), d in zip(COLUMNS.items(), DATATYPES, strict=True)]}).encode()
VALID: dict[str, list[bytes]] = {
    "own": [json.dumps(ROW).encode(), json.dumps({"rows": [ROW, ROW]}).encode()],
    "oip": [TENSORS, BINARY],
    "tfserving": [json.dumps({"instances": [ROW]}).encode(), json.dumps({"inputs": COLUMNS}).encode(),
                  b'{"instances": [{"who": {"b64": "YQ=="}, "n": 1, "x": NaN, "yes": null, "when": -Infinity}]}'],
    "mlflow": [json.dumps({"dataframe_records": [ROW]}).encode(), json.dumps({"inputs": COLUMNS}).encode(),
               json.dumps({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}}).encode()],
    "csv": [b"who,n,x,yes,when\na,1,2.5,true,2026-01-01\n\"b\",,,false,5\n"],
}


def decode(kind: str, body: bytes, head: bytes = b"", signature: Signature = SIGNATURE) -> Batch:
    match kind:
        case "own":
            return own.decode(b"", body, signature, 0)[0]
        case "oip":
            return oip_rest.decode(body, head, signature, "", 0).batch
        case "tfserving":
            return tfserving.decode(body, signature, "", 0)[0]
        case "mlflow":
            return mlflow.decode_json(body, signature, 0)
        case _:
            return mlflow.decode_csv(body, signature, 0)


def check(made: Batch) -> None:
    """A batch is what it says: equally long columns of exactly the fields, each cell null or of its type."""
    assert list(made.columns) == list(made.fields)
    assert 0 < made.size <= MOST_ROWS
    for name, cells in made.columns.items():
        assert len(cells) == made.size
        for i, cell in enumerate(cells):
            assert cell is None or type(cell) is HELD[made.fields[name]]
            assert i not in made.refused or cell is None
            assert cell == cell
    assert len(made.rows()) == made.size


def refused_or_sound(kind: str, body: bytes, head: bytes = b"", signature: Signature = SIGNATURE) -> bool:
    began = time.monotonic()
    try:
        check(decode(kind, body, head, signature))
        return True
    except (Unavailable, Conflict):
        raise
    except FivefoldError as e:
        assert 0 < len(str(e)) < 2000
        return False
    finally:
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", VALID)
def test_what_is_right_is_taken(kind: str) -> None:
    for body in VALID[kind]:
        try:
            made = decode(kind, body, str(len(HEAD)).encode() if body is BINARY else b"")
        except FivefoldError as e:
            assert b"Infinity" in body, e
            continue
        check(made)
        assert not made.refused


@st.composite
def mutated(draw: Any, body: bytes) -> bytes:
    """A request that was right, with pieces cut, doubled, replaced or flipped."""
    out = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(out) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                del out[at:at + draw(st.integers(1, 20))]
            case 1:
                out[at:at] = out[at:at + draw(st.integers(1, 40))]
            case 2:
                out[at:at + 1] = draw(st.binary(max_size=4))
            case 3:
                out[at:at + draw(st.integers(0, 3))] = draw(st.sampled_from(
                    [b"9" * 30, b"-1", b"null", b"[]", b"{}", b"NaN", b"1e999", b'"x"', b"true", b"[[1]]", b"4294967296",
                     b"9223372036854775808", b'"\\ud800"', b"0.5", b"\xff", b"\x00", b","]))
            case _:
                if out:
                    out[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(out)


@settings(max_examples=400, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", VALID)
def test_requests_with_mistakes_are_refused(kind: str, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(VALID[kind]).flatmap(mutated) | st.binary(max_size=80))
    head = data.draw(st.sampled_from([b"", str(len(HEAD)).encode(), b"0", b"9" * 40, b"-1", b"x"])) if kind == "oip" else b""
    refused_or_sound(kind, body, head, data.draw(st.sampled_from([SIGNATURE, ONE])))


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(
    [10**400, 2**63, -(2**63), "2026-01-01", "YQ==", 1e308, [1], [[1]], {"b64": "YQ=="}, {"b64": "é"}])
TREE = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.sampled_from([*FIELDS, "rows", "inputs", "instances", "outputs", "data", "columns", "index", "name", "shape", "id",
                     "datatype", "parameters", "binary_data_size", "dataframe_split", "dataframe_records", "params",
                     "timeout", "priority", "b64", "signature_name"]), inner, max_size=5), max_leaves=14)


@settings(max_examples=300, deadline=None)
@given(tree=TREE)
@pytest.mark.parametrize("kind", [k for k in VALID if k != "csv"])
def test_any_json_is_taken_or_refused(kind: str, tree: Any) -> None:
    key = {"own": "rows", "oip": "inputs", "tfserving": "instances", "mlflow": "dataframe_split"}[kind]
    for value in (tree, {key: tree}, {key: [tree, ROW]}, {"inputs": tree}):
        refused_or_sound(kind, json.dumps(value).encode())
        refused_or_sound(kind, json.dumps(value).encode(), signature=ONE)


TENSOR = st.fixed_dictionaries({
    "name": st.sampled_from([*FIELDS, "other"]), "datatype": st.sampled_from([*DATATYPES, "FP16", "BF16", "UINT64", "INT8", "x"]),
    "shape": st.lists(st.sampled_from([0, 1, 2, -1, 10**4, 10**5, 2**31, 2**62, 2**63 - 1]), max_size=4)},
    optional={"data": TREE, "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "shared_memory_region"]),
                                                           st.integers(-1, 2**40) | PLAIN, max_size=2)})


@settings(max_examples=300, deadline=None)
@given(st.lists(TENSOR, max_size=7), st.binary(max_size=60), TREE)
@example([{"name": "n", "datatype": "INT64", "shape": [2**62], "parameters": {"binary_data_size": 2**40}}], b"", None)
def test_any_tensors_are_taken_or_refused(tensors: list[Any], tail: bytes, parameters: Any) -> None:
    head = json.dumps({"inputs": tensors, "parameters": parameters} if parameters else {"inputs": tensors}).encode()
    refused_or_sound("oip", head + tail, str(len(head)).encode())
    refused_or_sound("oip", head + tail, str(len(head)).encode(), ONE)


def grpc_request() -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="e", id="i", raw_input_contents=RAWS)
    for n, d in zip(FIELDS, DATATYPES, strict=True):
        made.inputs.add(name=n, datatype=d, shape=[2])
    made.parameters["timeout"].int64_param = 5
    return made


def typed_request() -> pb.ModelInferRequest:
    made = grpc_request()
    del made.raw_input_contents[:]
    for tensor, field, values in zip(made.inputs, ("bytes", "int64", "fp64", "bool", "int64"),
                                     ([b"a", b"b"], [1, 2], [1.0, 2.0], [True, False], [3, 4]), strict=True):
        getattr(tensor.contents, f"{field}_contents").extend(values)
    return made


@settings(max_examples=600, deadline=None)
@given(st.sampled_from([grpc_request().SerializeToString(), typed_request().SerializeToString()]).flatmap(mutated)
       | st.binary(max_size=80))
def test_grpc_messages_with_mistakes_are_refused(body: bytes) -> None:
    try:
        request = pb.ModelInferRequest.FromString(body)
    except DecodeError:
        return
    try:
        check(oip_grpc.decode(request, SIGNATURE, 0))
    except FivefoldError as e:
        assert 0 < len(str(e)) < 2000


def test_grpc_messages_that_are_right_are_taken() -> None:
    for request in (grpc_request(), typed_request()):
        made = oip_grpc.decode(request, SIGNATURE, 0)
        check(made)
        assert (made.size, made.deadline) == (2, 5000)


DEEP = [b"[" * 200_000, b'{"a":' * 100_000, b'{"inputs": ' + b"[" * 50_000, b'{"instances": ' + b'[{"who":' * 30_000,
        b'{"x": NaN, "inputs": ' + b"[" * 100_000]
WIDE = [json.dumps({f"c{i}": i for i in range(50_000)}).encode(),
        json.dumps({"rows": [{f"c{i}": 1} for i in range(MOST_ROWS)]}).encode(),
        json.dumps({"inputs": {f"c{i}": [1] for i in range(50_000)}}).encode(),
        json.dumps({"inputs": [{"name": f"c{i}", "datatype": "INT64", "shape": [1], "data": [1]} for i in range(20_000)]}).encode(),
        json.dumps({"dataframe_split": {"columns": [f"c{i}" for i in range(20_000)], "data": [[1] * 20_000] * 5}}).encode(),
        json.dumps({"instances": [1] * (MOST_ROWS + 1)}).encode(), json.dumps({"rows": [{}] * (MOST_ROWS + 1)}).encode(),
        b"n\n" + b"1\n" * (MOST_ROWS + 1), b"n," * 500_000, b"\n" * 1_000_000, b'"' + b"x" * 1_000_000, b"n\n\x00\n",
        b"n\n" + b"9" * 100_000]


@pytest.mark.parametrize("body", DEEP + WIDE, ids=range(len(DEEP + WIDE)))
@pytest.mark.parametrize("kind", VALID)
def test_what_is_too_deep_or_too_wide_is_refused(kind: str, body: bytes) -> None:
    taken = refused_or_sound(kind, body)
    assert not taken or kind == "own", "rows that are wrong are refused one by one"
    refused_or_sound(kind, body, signature=ONE)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_never_made(encoding: str) -> None:
    import tracemalloc

    layer = zlib.compress(b"\0" * (300 << 20), 9) if encoding == "deflate" else gzip.compress(b"\0" * (300 << 20), 9)
    tracemalloc.start()
    with pytest.raises(FivefoldError, match="decompresses to more than"):
        inflated(layer, encoding)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MOST_BYTES


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([gzip.compress(TENSORS), zlib.compress(TENSORS)]).flatmap(mutated) | st.binary(max_size=40),
       st.sampled_from(["gzip", "deflate", "br", "", "identity", "x-gzip", "gzip, gzip"]))
def test_any_compressed_bytes_are_taken_or_refused(body: bytes, encoding: str) -> None:
    try:
        assert len(inflated(body, encoding)) <= MOST_BYTES
    except FivefoldError as e:
        assert str(e)


PATHS = ["/predict/returned", "/v2/models/returned/infer", "/v2/models/returned/versions/1/infer", "/v2/repository/index",
         "/v1/models/returned:predict", "/invocations", "/endpoints/returned/invocations"]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), st.binary(max_size=60) | TREE.map(lambda v: json.dumps(v).encode()),
       st.dictionaries(st.sampled_from(["content_encoding", "accept_encoding", "inference_header_content_length",
                                        "content_type", "accept", "content_length"]),
                       st.sampled_from(["gzip", "deflate", "0", "7", "x", "", "text/csv", "application/json", "ü", "1e9",
                                        "gzip;q=0", "text/event-stream", "application/json; charset=utf-16"]), max_size=4))
def test_the_application_answers_or_refuses(one_application: Any, path: str, body: bytes, headers: dict[str, str]) -> None:
    status, said, _ = one_application.raw(body, path, **headers)
    assert status in (200, 400, 404, 408, 413, 415, 501), said


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["v1", "v2", "models", "returned", "versions", "labels", "1", "infer", "ready", "stats", "config",
                                 "predict", "endpoints", "invocations", "", "..", "é", "a:predict", "returned:predict", "\n",
                                 "repository", "systemsharedmemory", "api", "2.0"]), max_size=7),
       st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "x"]))
def test_any_path_is_answered_or_refused(one_application: Any, parts: list[str], method: str) -> None:
    status, said, _ = one_application.raw(b"", "/" + "/".join(parts), method)
    assert status in (200, 400, 404, 405, 415, 501), said
