"""The text formats, read by the parsers of Prometheus's own client."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from fivefold.realtime.telemetry.exposition import text_of, wants_openmetrics
from fivefold.realtime.telemetry.families import BY_NAME, FAMILIES, Buckets, Kind, Sample

PARSERS = [(False, prometheus), (True, openmetrics)]


@pytest.mark.parametrize(("new", "parse"), PARSERS)
def test_every_family_is_read_as_it_was_meant(new: bool, parse: Any) -> None:
    samples = []
    for family in FAMILIES:
        labels = tuple(f"{name} value" for name in family.labels)
        histogram = Buckets((10**9, 2 * 10**9), [1, 2, 3], 5 * 10**9)
        samples.append(Sample(family.name, labels, histogram if family.kind is Kind.HISTOGRAM else 1.5))
    read = {f.name: f for f in parse(text_of(samples, new).decode())}
    assert set(read) == set(BY_NAME)
    for family in FAMILIES:
        found = read[family.name]
        assert (found.type, found.documentation) == (family.kind, family.help)
        assert family.help.endswith((".", ")")), family
        for sample in found.samples:
            assert set(family.labels) == set(sample.labels) - {"le"}
    buckets = {s.labels["le"]: s.value for s in read["fivefold_request_duration_seconds"].samples if "le" in s.labels}
    assert buckets == {"1.0": 1, "2.0": 3, "+Inf": 6}
    totals = {s.name.rpartition("_")[2]: s.value for s in read["fivefold_request_duration_seconds"].samples}
    assert (totals["sum"], totals["count"]) == (5.0, 6)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1), st.floats(0, 1e15) | st.integers(0, 2**50))
def test_any_label_and_number_come_back(label: str, number: float) -> None:
    for new, parse in PARSERS:
        text = text_of([Sample("fivefold_waiting_rows", (label,), number)], new).decode()
        (family,) = parse(text)
        (sample,) = family.samples
        assert math.isclose(sample.value, number, rel_tol=1e-15)
        if "\\" not in label and label == label.strip() and label.isprintable():
            assert sample.labels == {"endpoint": label}


def test_an_empty_label_is_left_out_and_nothing_is_no_family() -> None:
    assert text_of([]) == b"\n"
    assert text_of([], True) == b"# EOF\n"
    assert b'fivefold_requests_total{endpoint="e",outcome="refused"} 3\n' in text_of(
        [Sample("fivefold_requests", ("e", "", "refused"), 3)])


@pytest.mark.parametrize(("accept", "wants"), [
    (b"", False), (b"*/*", False), (b"text/plain", False), (b"application/openmetrics-text", True),
    (b"application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2", True),
    (b"text/plain, Application/OpenMetrics-Text ; version=1.0.0", True), (b"application/openmetrics-text;q=0", False),
    (b"application/openmetrics-text;q=0.0", False), (b"application/openmetrics-textual", False),
])
def test_the_newer_format_is_for_those_who_ask_for_it(accept: bytes, wants: bool) -> None:
    assert wants_openmetrics(accept) is wants
