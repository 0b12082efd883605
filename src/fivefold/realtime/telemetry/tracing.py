"""Requests as OpenTelemetry traces: a span for each, and one for each stage that it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from fivefold.core.errors import Invalid, NotFound, missing_extra
from fivefold.realtime.telemetry.stages import Stages

try:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    raise missing_extra("opentelemetry-api", "otel", "traces") from None

_EXPORTERS = "opentelemetry_traces_exporter"


class Tracing:
    """Makes spans with a provider, which decides by the caller's `traceparent` or by its share which are made."""

    def __init__(self, provider: TracerProvider, close: Callable[[], None] = lambda: None) -> None:
        self._tracer = provider.get_tracer("fivefold")
        self._context = TraceContextTextMapPropagator()
        self.close = close
        """Send what has not been sent."""

    def begin(self, name: str, headers: Mapping[str, str]) -> Stages | None:
        """Begin the span of a request, as a part of its caller's trace; None for one that is not traced."""
        context = self._context.extract(headers, Context()) if "traceparent" in headers else Context()
        span = self._tracer.start_span(name, context, SpanKind.SERVER)
        return Stages(span) if span.is_recording() else None

    def end(self, stages: Stages, name: str, failed: bool, attributes: Mapping[str, str | int]) -> None:
        """End the span of a request, with those of its stages."""
        span, now = stages.span, time.perf_counter_ns()
        # the stages were measured on another clock than that of spans
        offset = time.time_ns() - now
        inside = set_span_in_context(span, Context())
        for part, began, ended in stages.parts():
            self._tracer.start_span(part, inside, start_time=began + offset).end(ended + offset)
        span.update_name(name)
        span.set_attributes(attributes)
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(now + offset)


def traceparent(stages: Stages) -> str:
    """The identity of a request's span, as W3C Trace Context writes it."""
    context = stages.span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def tracing(share: float, environment: Mapping[str, str]) -> Tracing:
    """Traces as OpenTelemetry's own variables say: OTEL_TRACES_EXPORTER (`otlp`), OTEL_EXPORTER_OTLP_*,
    OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_*.

    Of requests whose caller says whether it traces, those are traced that it does; of others a share (0 to 1).
    Raises Invalid for another share, NotFound for an exporter that is not installed, Unavailable without the SDK.
    """
    if not 0 <= share <= 1:
        raise Invalid(f"--traces {share:g} is no share of requests (accepted: 0 to 1).")
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider as Provider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError:
        raise missing_extra("opentelemetry-sdk", "otel", "traces") from None
    service = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": "fivefold"}
    provider = Provider(
        sampler=ParentBased(TraceIdRatioBased(share)), resource=Resource.create(service), shutdown_on_exit=False
    )
    exporter = _exporter(environment)
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, provider.shutdown)


def _exporter(environment: Mapping[str, str]) -> Any:
    name = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if name == "none":
        return None
    names = [name]
    if name == "otlp":
        # each protocol has a package of its own; the one of both has `otlp`
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        names = ["otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http", "otlp"]
    found = [e for n in names for e in entry_points(group=_EXPORTERS) if e.name == n]
    if not found:
        have = sorted({e.name for e in entry_points(group=_EXPORTERS)} | {"none"})
        raise NotFound(
            f"no exporter of traces {name!r} is installed (have: {', '.join(have)}).",
            hint="Install opentelemetry-exporter-otlp, or set OTEL_TRACES_EXPORTER.",
        )
    return found[0].load()()
