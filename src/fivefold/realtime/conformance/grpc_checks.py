"""The same questions over gRPC, and whether both forms say the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from fivefold.features.fields import shown
from fivefold.realtime.conformance.asking import SECONDS, Http, Skipped, Wrong
from fivefold.realtime.conformance.sample import Sample, answered, raw_values, require_same
from fivefold.realtime.protos import inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
_CONTENTS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
} | {f"{sign}INT{bits}": f"{sign.lower()}int_contents" for sign in ("", "U") for bits in (8, 16, 32)}
_REFUSALS = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "UNAVAILABLE",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
}


class Rpc:
    """A gRPC server."""

    def __init__(self, channel: Any, token: str = "") -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def ask(self, method: str, request: Any, answer: Any) -> Any:
        """The answer to a call. Raises Wrong for an error."""
        call = self._channel.unary_unary(SERVICE + method, type(request).SerializeToString, answer.FromString)
        try:
            return call(request, timeout=SECONDS, metadata=self._metadata)
        except grpc.RpcError as e:
            raise Wrong(f"{method}: {e.code().name}: {shown(e.details())}") from None

    def code(self, request: Any) -> str:
        """The status of an inference, OK or another."""
        call = self._channel.unary_unary(
            f"{SERVICE}ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
        )
        try:
            call(request, timeout=SECONDS, metadata=self._metadata)
        except grpc.RpcError as e:
            return str(e.code().name)
        return "OK"

    def stream(self, requests: list[Any]) -> list[Any]:
        """The answers of a stream. Raises Skipped when the server has none, Wrong when it breaks off."""
        call = self._channel.stream_stream(
            f"{SERVICE}ModelStreamInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelStreamInferResponse.FromString,
        )
        try:
            return list(call(iter(requests), timeout=SECONDS, metadata=self._metadata))
        except grpc.RpcError as e:
            if e.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise Skipped("the server has no streams") from None
            raise Wrong(f"ModelStreamInfer: {e.code().name}: {shown(e.details())}") from None


@contextmanager
def connected(address: str, token: str = "") -> Iterator[Rpc]:
    """A connection that is closed again."""
    with grpc.insecure_channel(address) as channel:
        yield Rpc(channel, token)


def health(http: Http, rpc: Rpc, asked: Sample) -> None:
    """gRPC: server and model are live and ready"""
    if not rpc.ask("ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live:
        raise Wrong("ServerLive: live is false")
    if not rpc.ask("ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready:
        raise Wrong("ServerReady: ready is false")
    if not rpc.ask("ModelReady", pb.ModelReadyRequest(name=asked.model), pb.ModelReadyResponse).ready:
        raise Wrong("ModelReady: ready is false")


def metadata(http: Http, rpc: Rpc, asked: Sample) -> None:
    """gRPC: metadata says what it says over HTTP"""
    server = rpc.ask("ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse)
    told = http.told("GET", "/v2")
    if (server.name, server.version) != (told.get("name"), told.get("version")):
        raise Wrong(f"ServerMetadata: {server.name} {server.version}, and over HTTP {shown(told)}")
    model = rpc.ask("ModelMetadata", pb.ModelMetadataRequest(name=asked.model), pb.ModelMetadataResponse)
    inputs = [(i.name, i.datatype) for i in model.inputs]
    if inputs != [(t.name, t.datatype) for t in asked.inputs]:
        raise Wrong(f"ModelMetadata: the inputs are {shown(inputs)}, and others over HTTP")
    if [o.name for o in model.outputs] != asked.outputs:
        raise Wrong(f"ModelMetadata: the outputs are {shown([o.name for o in model.outputs])}, and others over HTTP")


def raw(http: Http, rpc: Rpc, asked: Sample) -> None:
    """gRPC: raw contents mean what JSON means over HTTP, and the id comes back"""
    _require_answer(
        http, asked, rpc.ask("ModelInfer", _request(asked, raw=True), pb.ModelInferResponse), "raw contents"
    )


def typed(http: Http, rpc: Rpc, asked: Sample) -> None:
    """gRPC: typed contents mean what JSON means over HTTP"""
    _require_answer(
        http, asked, rpc.ask("ModelInfer", _request(asked, raw=False), pb.ModelInferResponse), "typed contents"
    )


def refusals(http: Http, rpc: Rpc, asked: Sample) -> None:
    """gRPC: what is wrong is refused with a status that says whose fault it is"""

    def both(request: Any) -> None:
        request.inputs[0].contents.CopyFrom(_request(asked, raw=False).inputs[0].contents)

    changes: dict[str, Callable[[Any], Any]] = {
        "an unknown model": lambda r: setattr(r, "model_name", "there-is-no-such-model"),
        "raw and typed contents at once": both,
        "a raw tensor too few": lambda r: r.raw_input_contents.pop(),
        "a raw tensor that is too long": lambda r: r.raw_input_contents.append(r.raw_input_contents.pop() + b"\0"),
        "no inputs": lambda r: r.ClearField("inputs") or r.ClearField("raw_input_contents"),
        "an enormous shape": lambda r: r.inputs[0].shape.__setitem__(0, 2**62),
        "an unknown output": lambda r: r.outputs.add(name="there-is-no-such-output"),
    }
    for what, change in changes.items():
        request = _request(asked, raw=True)
        change(request)
        if (code := rpc.code(request)) not in _REFUSALS:
            raise Wrong(f"ModelInfer with {what}: {code}, not INVALID_ARGUMENT or NOT_FOUND")


def stream(http: Http, rpc: Rpc, asked: Sample) -> None:
    """gRPC: a stream answers each request, and an error does not end it"""
    good, bad = _request(asked, raw=True), _request(asked, raw=True)
    bad.model_name = "there-is-no-such-model"
    answers = rpc.stream([good, bad, good])
    if len(answers) != 3:
        raise Wrong(f"ModelStreamInfer: {len(answers)} answers to 3 requests")
    if not answers[1].error_message:
        raise Wrong("ModelStreamInfer: no error_message for an unknown model")
    for answer in (answers[0], answers[2]):
        if answer.error_message:
            raise Wrong(f"ModelStreamInfer: {shown(answer.error_message)}")
        _require_answer(http, asked, answer.infer_response, "a stream")


def _request(asked: Sample, raw: bool) -> Any:
    request = pb.ModelInferRequest(model_name=asked.model, id="f7")
    for tensor in asked.inputs:
        made = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            request.raw_input_contents.append(tensor.raw())
            continue
        field = _CONTENTS.get(tensor.datatype)
        if field is None:
            raise Skipped(f"there are no typed contents of {tensor.datatype}")
        data = [v.encode() for v in tensor.data] if tensor.datatype == "BYTES" else tensor.data
        getattr(made.contents, field).extend(data)
    return request


def _require_answer(http: Http, asked: Sample, answer: Any, what: str) -> None:
    if answer.id != "f7":
        raise Wrong(f"{what}: id is {answer.id!r}, not 'f7'")
    if answer.model_name != asked.model:
        raise Wrong(f"{what}: model_name is {answer.model_name!r}, not {asked.model!r}")
    found: dict[str, list[Any]] = {}
    raws = list(answer.raw_output_contents)
    if raws and len(raws) != len(answer.outputs):
        raise Wrong(f"{what}: {len(raws)} raw_output_contents for {len(answer.outputs)} outputs")
    for place, tensor in enumerate(answer.outputs):
        count = math.prod(tensor.shape)
        if raws:
            found[tensor.name] = raw_values(tensor.name, tensor.datatype, raws[place], count, what)
            continue
        values = list(getattr(tensor.contents, _CONTENTS.get(tensor.datatype, "fp32_contents")))
        if len(values) != count:
            raise Wrong(f"{what}: {tensor.name} has {len(values)} values, and the shape {list(tensor.shape)}")
        found[tensor.name] = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]
    whole = answered(http.ask("POST", asked.path, asked.body()), asked, "inference")
    require_same(whole, found, what)
