"""Spans of requests, as OpenTelemetry's own SDK keeps them in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from fivefold.core.errors import Invalid
from fivefold.realtime.batching.batcher import Batcher
from fivefold.realtime.endpoints.predictor import predict
from fivefold.realtime.grpc.calls import Calls, RpcServer
from fivefold.realtime.grpc.oip import SERVICE, OipCalls
from fivefold.realtime.protos import inference_pb2
from fivefold.realtime.telemetry.tracing import Tracing, tracing
from fivefold.realtime.telemetry.watching import Watch

STAGES = ["admit", "decode", "wait", "lookup", "model", "log", "encode"]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
YES, NO = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Kept:
    """What sees requests, and the spans that were made."""

    def __init__(self, share: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.watch = Watch(tracing=Tracing(provider))

    def spans(self) -> list[Any]:
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found


@pytest.mark.parametrize(("path", "body"), [
    ("/predict/returned", {"customer_id": "c1", "amount": 12.5}),
    ("/v2/models/returned/infer", {"inputs": [{"name": "customer_id", "datatype": "BYTES", "shape": [1], "data": ["c1"]},
                                              {"name": "amount", "datatype": "FP64", "shape": [1], "data": [12.5]}]}),
    ("/v1/models/returned:predict", {"instances": [{"customer_id": "c1", "amount": 12.5}]}),
    ("/invocations", {"dataframe_split": {"columns": ["customer_id", "amount"], "data": [["c1", 12.5]]}}),
])
@pytest.mark.parametrize("batched", [False, True])
def test_a_request_has_a_span_for_each_stage_in_its_caller_s_trace(shop: Any, path: str, body: Any, batched: bool) -> None:
    kept = Kept()
    with shop.app(watch=kept.watch, predict=Batcher({}) if batched else predict) as asker:
        status, _, headers = asker.send(json.dumps(body).encode(), path, traceparent=YES)
    assert status == 200
    *parts, whole = kept.spans()
    assert [s.name for s in parts] == STAGES
    assert whole.attributes["http.response.status_code"] == 200
    assert whole.name == f"POST {whole.attributes['http.route']}"
    assert (f"{whole.context.trace_id:032x}", f"{whole.parent.span_id:016x}") == (TRACE, PARENT)
    assert headers[b"traceresponse"] == f"00-{TRACE}-{whole.context.span_id:016x}-01".encode()
    at = whole.start_time - 1_000_000
    for part in parts:
        assert part.parent.span_id == whole.context.span_id
        assert at <= part.start_time <= part.end_time <= whole.end_time + 1_000_000
        at = part.start_time


def test_the_caller_decides_and_else_the_share(shop: Any, row: dict[str, Any]) -> None:
    body = json.dumps(row).encode()
    for share, header, traced in [(1.0, NO, False), (0.0, YES, True), (0.0, "", False), (1.0, "", True), (1.0, "rubbish", True)]:
        kept = Kept(share)
        with shop.app(watch=kept.watch) as asker:
            _, _, headers = asker.send(body, **({"traceparent": header} if header else {}))
        assert bool(kept.spans()) is traced
        assert (b"traceresponse" in headers) is traced


def test_what_is_refused_or_not_there_ends_where_it_came_to(shop: Any) -> None:
    kept = Kept()
    with shop.app(watch=kept.watch) as asker:
        assert asker.send(b"{")[0] == 400
        assert [s.name for s in kept.spans()] == ["admit", "encode", "POST /predict/{endpoint}"]
        assert asker.send(path="/nothing", method="GET")[0] == 404
        assert [s.name for s in kept.spans()] == ["encode", "GET"]


def test_a_stream_ends_when_all_of_it_was_sent(shop: Any, row: dict[str, Any]) -> None:
    kept = Kept()
    with shop.app(watch=kept.watch) as asker:
        status, _, _ = asker.raw(json.dumps({"rows": [row] * 5}).encode(), "/predict/returned",
                                 content_type="application/json", accept="text/event-stream")
    assert status == 200
    assert kept.spans()[-1].name == "POST /predict/{endpoint}"


def test_a_call_of_grpc_has_the_same_stages(shop: Any) -> None:
    import asyncio

    kept = Kept()
    request = inference_pb2.ModelInferRequest(model_name="returned")
    request.inputs.add(name="customer_id", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"c1")
    request.inputs.add(name="amount", datatype="FP64", shape=[1]).contents.fp64_contents.append(12.5)

    async def ask(live: Any) -> None:
        server = RpcServer(Calls(OipCalls(live, Batcher({}), lambda: False).calls, watch=kept.watch), "127.0.0.1", 0)
        address = await server.start()
        async with grpc.aio.insecure_channel(address) as channel:
            infer = channel.unary_unary(f"{SERVICE}ModelInfer", inference_pb2.ModelInferRequest.SerializeToString,
                                        inference_pb2.ModelInferResponse.FromString)
            await infer(request, metadata=(("traceparent", YES),))
            request.model_name = "nothing"
            with pytest.raises(grpc.RpcError):
                await infer(request, metadata=(("traceparent", YES),))
        await server.stop(1)

    with shop.app() as asker:
        asyncio.run(ask(asker.live))
    *parts, whole, refused, last = kept.spans()
    assert [s.name for s in parts] == STAGES
    assert (whole.name, f"{whole.context.trace_id:032x}") == (f"{SERVICE}ModelInfer"[1:], TRACE)
    assert (refused.name, last.attributes["rpc.grpc.status"]) == ("encode", "NOT_FOUND")
    codes = {s.labels: s.value for s in kept.watch.samples()}
    assert codes == {(f"{SERVICE}ModelInfer", "OK"): 1, (f"{SERVICE}ModelInfer", "NOT_FOUND"): 1}


def test_a_share_is_from_0_to_1() -> None:
    for share in (-0.1, 1.1):
        with pytest.raises(Invalid, match="no share of requests"):
            tracing(share, {})
    tracing(0.5, {"OTEL_TRACES_EXPORTER": "none"}).close()


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    program = ("import sys, fivefold.realtime.processes.server, fivefold.realtime.grpc.calls, fivefold.realtime.telemetry.watching\n"
               "print([m for m in sys.modules if m.startswith(('opentelemetry', 'prometheus'))])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
