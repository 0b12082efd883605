"""Samples as text: the Prometheus text format 0.0.4, and OpenMetrics 1.0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fivefold.realtime.telemetry.families import FAMILIES, Buckets, Family, Kind, Sample

PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"


def wants_openmetrics(accept: bytes) -> bool:
    """Whether a header Accept names OpenMetrics, and does not rule it out."""
    for each in accept.lower().split(b","):
        kind, *parameters = (part.strip() for part in each.split(b";"))
        if kind == b"application/openmetrics-text":
            return not any(p.startswith(b"q=") and not p[2:].strip(b"0.") for p in parameters)
    return False


def text_of(samples: Iterable[Sample], openmetrics: bool = False) -> bytes:
    """Samples as text, family by family; families without a sample are left out."""
    by_family: dict[str, list[Sample]] = {}
    for sample in samples:
        by_family.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for family in FAMILIES:
        found = by_family.get(family.name)
        if not found:
            continue
        total = "_total" if family.kind is Kind.COUNTER else ""
        # OpenMetrics names the family, the older format the series
        shown = family.name if openmetrics else family.name + total
        lines += [f"# HELP {shown} {family.help}", f"# TYPE {shown} {family.kind}"]
        for sample in found:
            if isinstance(sample.value, Buckets):
                lines += _buckets(family, sample.labels, sample.value)
            else:
                lines.append(f"{family.name}{total}{_labels(family, sample.labels)} {_number(sample.value)}")
    if openmetrics:
        lines.append("# EOF")
    return "\n".join(lines).encode() + b"\n"


def _buckets(family: Family, labels: tuple[str, ...], value: Buckets) -> list[str]:
    out, below = [], 0
    for bound, count in zip((*value.bounds, None), value.counts, strict=True):
        below += count
        le = "+Inf" if bound is None else repr(bound / family.scale)
        out.append(f"{family.name}_bucket{_labels(family, labels, {'le': le})} {below}")
    out.append(f"{family.name}_sum{_labels(family, labels)} {_number(value.total / family.scale)}")
    out.append(f"{family.name}_count{_labels(family, labels)} {below}")
    return out


def _labels(family: Family, values: tuple[str, ...], more: Mapping[str, str] | None = None) -> str:
    named = dict(zip(family.labels, values, strict=True)) | dict(more or {})
    # an empty label is the same as none
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in named.items() if value)
    return f"{{{shown}}}" if shown else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
