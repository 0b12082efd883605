"""The Open Inference Protocol v2 over gRPC: what tritonclient and KServe call `inference.GRPCInferenceService`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from fivefold.core.errors import Unsupported
from fivefold.realtime.batching.gate import Gate
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.named import named
from fivefold.realtime.endpoints.predictor import Predict
from fivefold.realtime.grpc.calls import Call, each_in_loop, in_loop, refusal
from fivefold.realtime.grpc.door import peer_address
from fivefold.realtime.http.oip import all_statistics, index
from fivefold.realtime.http.routes import Permission
from fivefold.realtime.protocols import oip_about, oip_grpc
from fivefold.realtime.protocols.batch import Signature
from fivefold.realtime.protos import inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
_REFUSED = (
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
)


class OipCalls:
    """Metadata, readiness, inference; `draining` says whether the server was told to stop."""

    def __init__(
        self,
        endpoints: Mapping[str, Live],
        predict: Predict,
        draining: Callable[[], bool],
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate
        self._endpoints = endpoints
        self._predict = predict
        self._draining = draining

    @property
    def calls(self) -> list[Call]:
        """What is answered here."""
        told: list[tuple[str, Any, Any, Permission]] = [
            ("ServerLive", pb.ServerLiveRequest, self._live, Permission.PUBLIC),
            ("ServerReady", pb.ServerReadyRequest, self._ready, Permission.PUBLIC),
            ("ServerMetadata", pb.ServerMetadataRequest, self._server, Permission.READ),
            ("ModelReady", pb.ModelReadyRequest, self._model_ready, Permission.READ),
            ("ModelMetadata", pb.ModelMetadataRequest, self._metadata, Permission.READ),
            ("ModelConfig", pb.ModelConfigRequest, self._config, Permission.READ),
            ("ModelStatistics", pb.ModelStatisticsRequest, self._statistics, Permission.READ),
            ("RepositoryIndex", pb.RepositoryIndexRequest, self._index, Permission.READ),
            ("ModelInfer", pb.ModelInferRequest, self._infer, Permission.PREDICT),
            *[(name, pb.ServerLiveRequest, _unsupported, Permission.OPERATE) for name in _REFUSED],
        ]
        stream = each_in_loop(self._stream_infer)
        return [
            *[Call(SERVICE + name, request, in_loop(answer), p) for name, request, answer, p in told],
            Call(SERVICE + "ModelStreamInfer", pb.ModelInferRequest, stream, Permission.PREDICT, stream=True),
        ]

    def _found(self, name: str, version: str) -> tuple[Live, Signature]:
        live = named(self._endpoints, name, "model")
        signature = live.signature
        signature.require_version(version)
        return live, signature

    async def _live(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        waiting = [n for n, e in self._endpoints.items() if e.served is None]
        return pb.ServerReadyResponse(ready=not waiting and not self._draining())

    async def _server(self, request: Any, context: Any) -> Any:
        return pb.ServerMetadataResponse(**oip_about.server())

    async def _model_ready(self, request: Any, context: Any) -> Any:
        live = named(self._endpoints, request.name, "model")
        ready = live.served is not None and request.version in ("", str(live.signature.version))
        return pb.ModelReadyResponse(ready=ready)

    async def _metadata(self, request: Any, context: Any) -> Any:
        return oip_grpc.metadata(self._found(request.name, request.version)[1])

    async def _config(self, request: Any, context: Any) -> Any:
        return oip_grpc.config(self._found(request.name, request.version)[1])

    async def _statistics(self, request: Any, context: Any) -> Any:
        if not request.name:
            return oip_grpc.statistics(all_statistics(self._endpoints))
        live, signature = self._found(request.name, request.version)
        return oip_grpc.statistics([oip_about.statistics(signature, live.counts)])

    async def _index(self, request: Any, context: Any) -> Any:
        return oip_grpc.index(index(self._endpoints, request.ready))

    async def _infer(self, request: Any, context: Any) -> Any:
        started = time.perf_counter_ns()
        live, signature = self._found(request.model_name, request.model_version)
        if self._gate is not None:
            headers = {
                k.encode(): v if isinstance(v, bytes) else v.encode() for k, v in context.invocation_metadata() or ()
            }
            self._gate.require({"model": live.name}, headers, peer_address(context.peer()), context.principal)
        stages = context.stages
        if stages is not None:
            stages.admitted = time.perf_counter_ns()
        batch = oip_grpc.decode(request, signature, started)
        if stages is not None:
            batch.stages, stages.decoded = stages, time.perf_counter_ns()
        # a client that set a deadline for its call waits no longer than that
        left = context.time_remaining()
        if left is not None:
            until = started + int(max(left, 0) * 1e9)
            batch.deadline = until if batch.deadline is None else min(until, batch.deadline)
        outcome = await self._predict(live, batch)
        return oip_grpc.encode(outcome, batch, raw=bool(request.raw_input_contents))

    async def _stream_infer(self, request: Any, context: Any) -> Any:
        """One answer of a stream; an error is one too, and the stream goes on."""
        try:
            return pb.ModelStreamInferResponse(infer_response=await self._infer(request, context))
        except Exception as e:  # the edge of the process: one request may fail, the others go on
            failed = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
            return pb.ModelStreamInferResponse(error_message=refusal(e)[1], infer_response=failed)


async def _unsupported(request: Any, context: Any) -> Any:
    raise Unsupported("this is not supported here.", hint="`fivefold promote` changes what is served.")
