"""The dashboard and the alerts name only metrics, labels and values that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fivefold.realtime.telemetry.families import BY_NAME, FAMILIES, Kind

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-serving.json").read_text())
ALERTS = (ROOT / "deploy" / "prometheus-alerts.yml").read_text()
EXPRESSIONS = [t["expr"] for p in DASHBOARD["panels"] for t in p.get("targets", [])]
OUTCOMES = {"answered", "rows_failed", "failed", "refused", "expired", "cancelled"}


def series() -> dict[str, set[str]]:
    """Every series of /metrics, with its labels."""
    out: dict[str, set[str]] = {}
    for f in FAMILIES:
        if f.kind is Kind.HISTOGRAM:
            out |= {f"{f.name}_bucket": {*f.labels, "le"}, f"{f.name}_sum": set(f.labels), f"{f.name}_count": set(f.labels)}
        else:
            out[f.name + ("_total" if f.kind is Kind.COUNTER else "")] = set(f.labels)
    return out


@pytest.mark.parametrize("text", [*EXPRESSIONS, ALERTS])
def test_every_series_and_label_there_is_named_is_in_the_metrics(text: str) -> None:
    have = series()
    named = re.findall(r"\b((?:fivefold|process)_\w+)(?:\{([^}]*)\})?", text)
    assert named
    for name, filters in named:
        assert name in have
        for label, values in re.findall(r'(\w+)\s*[!=]~?\s*"([^"]*)"', filters):
            assert label in have[name], (name, label)
            if label == "outcome" and name == "fivefold_requests_total":
                assert set(values.split("|")) <= OUTCOMES
    for labels in re.findall(r"(?:by|on|ignoring) \(([^)]*)\)", text):
        # what is grouped by is a label of one of the series beside it
        assert set(labels.split(", ")) <= set().union(*(have[name] for name, _ in named))


@pytest.mark.parametrize("target", [t for p in DASHBOARD["panels"] for t in p.get("targets", [])], ids=lambda t: t["expr"][:40])
def test_a_legend_names_labels_that_are_left(target: dict[str, str]) -> None:
    have = series()
    labels = set().union(*(have[n] for n in re.findall(r"(?:fivefold|process)_\w+", target["expr"])))
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels


def test_nearly_every_metric_is_on_the_dashboard() -> None:
    shown = {n for e in EXPRESSIONS for n in re.findall(r"(?:fivefold|process)_\w+", e)}
    shown |= {re.sub(r"_(total|bucket|sum|count)$", "", n) for n in shown} | {"fivefold_endpoint_ready"}
    left = set(BY_NAME) - shown
    assert left <= {"fivefold_cache_entries", "fivefold_cache_bytes", "fivefold_feature_cache_entries", "fivefold_feature_cache_bytes",
                    "fivefold_concurrency_limit", "process_start_time_seconds",
                    "fivefold_rollout_differing_rows", "fivefold_prediction_log_one_of", "fivefold_prediction_log_waiting"}


def test_panels_do_not_lie_on_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        g = panel["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
