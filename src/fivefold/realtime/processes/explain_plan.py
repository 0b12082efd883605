"""The plan of a request in words and numbers: its stages, what calls take, and how many rows are let in."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from fivefold.core.features import Derived, Udf
from fivefold.realtime.batching.lane import LONG, MOST_ROWS
from fivefold.realtime.batching.latency import Fit
from fivefold.realtime.batching.overload import PATIENCE
from fivefold.realtime.endpoints.answering import Answering
from fivefold.realtime.endpoints.answers import Answers
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.endpoints.stepwise import Stepwise

_TIMES = 200


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(0.99 * (len(ordered) - 1))]


def stages_of(live: Live, derived: float | None) -> dict[str, str]:
    """What each stage does; `derived` is what the features made of others take (µs), None where there are none."""
    using = live.using
    return {
        "read": "HTTP/1.1 by httptools",
        "admit": "Host and origin, route, who may ask (door), how often and in time (gate)",
        "decode": f"JSON to {len(using.fields)} columns, types checked",
        "wait": "batcher: alone at once, else what is read in one turn of the loop together",
        **_called(using, derived),
        "log": "the answer's id, and its line into the prediction log's queue",
        "encode": "predictions and features to JSON",
        "write": "head and body to the socket's buffer",
    }


def _called(using: Answers, derived: float | None) -> dict[str, str]:
    if isinstance(using, Stepwise):
        versions = ", ".join(f"{model}@{version}" for model, version in using.versions.items())
        return {"model": f"steps one after the other: look-ups and models of {versions}, and what is made of them"}
    assert isinstance(using, Answering)
    about, lookup = using.served.loaded.about, using.lookup
    views = [f"{v.name} in {using.served.online_name(v)}" for v in using.served.views]
    found = f"{len(lookup.names)} features: " + ("; ".join(views) if views else "none is stored")
    if derived is not None:
        found += f"; derived ones take {derived:.1f} µs of it"
    return {"lookup": found, "model": f"{about.format}, {about.task}, {len(lookup.names)} columns to float64"}


def derived_cost(using: Answers, row: Mapping[str, Any]) -> float | None:
    """Microseconds that features made of others take, for one row whose stored features are null; None for none."""
    if not isinstance(using, Answering) or not any(isinstance(f, Derived | Udf) for f in using.served.model.features):
        return None
    took = []
    for _ in range(_TIMES):
        began = time.perf_counter_ns()
        using.lookup.made_of({}, row)
        took.append((time.perf_counter_ns() - began) / 1e3)
    return quantiles(took)[0]


def recent_told(live: Live) -> str:
    """Whether features are read anew for each request."""
    recent = live.feature_cache
    if recent is None:
        return "feature cache: none; every request reads the online store."
    counts = recent.counts()
    return f"feature cache: {counts['hits']} of {counts['hits'] + counts['misses']} rows above were read before."


def limits(fit: Fit, slo: int | None) -> list[str]:
    """What calls take, who makes them, and how many rows are let in: as the batcher will find it under load."""
    each, once, beyond = fit.each / 1e3, fit.once / 1e3, fit.beyond / 1e3
    promised = PATIENCE if slo is None else slo
    named = "none; " if slo is None else ""
    told = [
        f"calls: L(n) = {each:.1f}·n + {once:.1f} µs for n rows, at most {beyond:.1f} µs longer in 99 of 100.",
        f"slo: {named}a request that would be answered after {promised / 1e6:g} ms is refused.",
    ]
    if fit.usual(1) > LONG:
        most = int(max(0.0, promised - fit.once - fit.beyond) / max(fit.each, 1.0))
        told.append(f"batching: a thread makes the calls, up to {MOST_ROWS} rows of waiting requests in each.")
        told.append(f"admission: {most} rows may wait; those after them would be late.")
    else:
        most = int(max(0.0, promised / 2 - fit.once) / max(fit.each, 1.0))
        told.append(f"batching: calls are made on the loop, at the end of a turn, up to {MOST_ROWS} rows in each.")
        told.append(
            f"admission: {most} rows a turn, half of the time promised; less the margin by which turns end late."
        )
    told.append(f"at most {1e9 / max(fit.each, 1.0):,.0f} rows/s for calls alone, on one core.")
    return told
