"""The conformance kit: what is right passes, and each thing that is wrong fails the check that is about it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner
from wrong_server import METADATA, serving

from fivefold.cli.main import app
from fivefold.core.errors import Invalid, NotFound
from fivefold.realtime.conformance.run import FAIL, PASS, SKIP, run
from fivefold.realtime.protos import inference_pb2 as pb


@pytest.mark.parametrize("model", ["", "returned", "what", "offer"])
def test_our_server_passes(server: Any, model: str) -> None:
    results = list(run(f"http://127.0.0.1:{server.port}", model, server.grpc))
    assert [r for r in results if r.outcome == FAIL] == []
    assert [r.check for r in results if r.outcome == SKIP] == ["nested data means what flat data means"]
    assert len(results) == 32


def test_another_server_that_is_right_passes() -> None:
    with serving() as url:
        assert [r for r in run(url) if r.outcome != PASS] == []


FAULTS = [
    ("never ready", "the server says that it is ready", "status 503, not 200"),
    ("version is a number", "server metadata has", "version is 1, not a text"),
    ("no versions in paths", "a version in the path", "GET /v2/models/twice/versions/1: status 404, not 200"),
    ("any version will do", "a version that there is not", "status 200, not 4xx"),
    ("any model will do", "a model that there is not", "metadata of an unknown model: status 200, not 4xx"),
    ("any output will do", "an output that there is not", "status 200, not 4xx"),
    ("any datatype will do", "an input of another datatype", "status 200, not 4xx"),
    ("any verb will do", "inference by GET", "status 200, not 4xx"),
    ("shapes are not checked", "data of another length", "4 values in the shape [1, 2]: status 200, not 4xx"),
    ("no nested data", "nested data means", "status 400, not 200"),
    ("needs a content type", "inference without a Content-Type", "status 422, not 200"),
    ("errors as detail", "an output that there is not", "not an object with the text 'error'"),
    ("refuses with 500", "a request without an input", "status 500, not 4xx"),
    ("trips over odd bodies", "a body that is no request", "status 500, not 4xx"),
    ("always all outputs", "only the outputs that are asked for", "inference for y: the outputs are y, word"),
    ("another name", "inference answers all outputs", "model_name is 'other', not 'twice'"),
    ("forgets the id", "the id of a request", "id is None, not 'f7-é'"),
    ("no outputs", "inference answers all outputs", "outputs is [], not a list of tensors"),
    ("no json", "inference answers all outputs", "the body is b'{', not JSON"),
    ("more data than shape", "inference answers all outputs", "y has 3 values, and the shape [1, 2]"),
    ("no binary outputs", "binary outputs", "the answer has no Inference-Header-Content-Length"),
    ("big-endian", "binary outputs", "before"),
    ("a size too large", "binary outputs", "the output 'y' has 9 bytes; 2 of FP32 are 8."),
    ("ignores what is left", "binary tensors that are cut", "a body with bytes behind: status 200, not 4xx"),
    ("ignores compression", "requests in gzip and deflate", "gzip: status 400, not 200"),
    ("a datatype of its own", "metadata of twice", "x has the datatype 'float'; nothing more can be asked"),
]


@pytest.mark.parametrize(("fault", "check", "why"), FAULTS, ids=[f[0] for f in FAULTS])
def test_each_fault_fails_its_check(fault: str, check: str, why: str) -> None:
    with serving(fault) as url:
        (found,) = [r for r in run(url) if r.check.startswith(check)]
    assert found.outcome == FAIL
    assert why in found.why


class Nonsense(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC server that answers everything, and wrongly."""

    def service(self, details: Any) -> Any:
        answers = {
            "ServerLive": pb.ServerLiveResponse(live=True), "ServerReady": pb.ServerReadyResponse(),
            "ServerMetadata": pb.ServerMetadataResponse(name="other"), "ModelMetadata": pb.ModelMetadataResponse(),
            "ModelInfer": pb.ModelInferResponse(model_name="twice", id="f7", raw_output_contents=[b""])}
        name = details.method.rpartition("/")[2]
        if name == "ModelStreamInfer":
            return grpc.stream_stream_rpc_method_handler(lambda requests, context: iter([b""]))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: answers[name].SerializeToString())


def test_a_grpc_server_that_is_wrong_fails_every_check() -> None:
    rpc = grpc.server(ThreadPoolExecutor(1), handlers=(Nonsense(),))
    port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    try:
        with serving() as url:
            found = [r for r in run(url, grpc_address=f"127.0.0.1:{port}") if r.check.startswith("gRPC")]
    finally:
        rpc.stop(0).wait()
    assert [r.outcome for r in found] == [FAIL] * 6
    assert [r.why for r in found] == [
        "ServerReady: ready is false", "ServerMetadata: other , and over HTTP {'name': 'wrong', 'version': '1', 'extensions': ['binary_tensor_data']}",
        "raw contents: 1 raw_output_contents for 0 outputs", "typed contents: 1 raw_output_contents for 0 outputs",
        "ModelInfer with an unknown model: OK, not INVALID_ARGUMENT or NOT_FOUND", "ModelStreamInfer: 1 answers to 3 requests"]


def test_the_command_prints_each_check_and_fails_with_one(tmp_path: Path) -> None:
    with serving() as url:
        right = CliRunner().invoke(app, ["conformance", url, "--model", "twice"])
        request = tmp_path / "request.json"
        request.write_text(json.dumps({"inputs": [{**METADATA["inputs"][0], "shape": [2, 2], "data": [1, 2, 3, 4.5]}]}))
        asked = CliRunner().invoke(app, ["conformance", url, "--request", str(request), "--json"])
    assert (right.exit_code, right.output.splitlines()[-1]) == (0, "26 passed, 0 failed, 0 skipped.")
    assert right.output.startswith("pass  the server says that it is live\n")
    assert (asked.exit_code, json.loads(asked.output)["counts"]) == (0, {PASS: 26, FAIL: 0, SKIP: 0})
    with serving("forgets the id") as url:
        wrong = CliRunner().invoke(app, ["conformance", url])
    assert wrong.exit_code == 1
    assert "FAIL  the id of a request comes back: inference: id is None, not 'f7-é'\n" in wrong.output


def test_what_cannot_be_asked_says_why() -> None:
    with pytest.raises(Invalid, match="is not the URL of a server"):
        list(run("ftp://x"))
    with serving("an empty index") as url, pytest.raises(NotFound, match="lists no model that is ready"):
        list(run(url))
    asked = run("http://127.0.0.1:1")
    first = next(asked)
    assert (first.outcome, first.why[:50]) == (FAIL, "GET /v2/health/live: no answer (ConnectionRefusedE")
    with pytest.raises(NotFound):
        list(asked)
