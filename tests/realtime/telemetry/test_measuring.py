"""`GET /metrics` of an application: what happened to requests is in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from fivefold.core.uses import Endpoint
from fivefold.realtime.http.http1 import Request, Response
from fivefold.realtime.processes.application import Application, application


@contextmanager
def opened(shop: Any, at: int | None = 1_772_000_000_000_000) -> Iterator[Application]:
    with asyncio.Runner() as runner, shop.open() as w, application(
        w, [e for e in w.project.of(Endpoint.kind) if isinstance(e, Endpoint)], hosts=("localhost",), closed=False, at=at
    ) as made:
        LOOP.append(runner)
        yield made
        LOOP.pop()


LOOP: list[asyncio.Runner] = []
"""The batcher of an application belongs to one loop."""


def ask(app: Any, body: Any, path: str = "/predict/returned", method: str = "POST", **more: bytes) -> Response:
    headers = {b"host": b"localhost", b"content-type": b"application/json"} | {k.encode().replace(b"_", b"-"): v for k, v in more.items()}

    async def answered() -> Response:
        found = app(Request(method, path, b"", headers, json.dumps(body).encode(), ""))
        return found if isinstance(found, Response) else await found

    return LOOP[-1].run(answered())


def scraped(app: Any, accept: bytes = b"") -> dict[str, float]:
    response = ask(app, None, "/metrics", "GET", accept=accept)
    assert response.status == 200
    assert response.kind.startswith(b"application/openmetrics-text" if accept else b"text/plain")
    parse = openmetrics if accept else prometheus
    out: dict[str, float] = {}
    for family in parse(response.body.decode()):
        for s in family.samples:
            out["/".join([s.name, *(v for _, v in sorted(s.labels.items()))])] = s.value
    return out


def test_requests_rows_and_features_are_told_apart(shop: Any) -> None:
    with opened(shop) as made:
        good, bad, wrong = {"customer_id": "c1", "amount": 12.5}, {"customer_id": "c1", "amount": 13}, {"customer_id": "c1"}
        ask(made.app, good)
        ask(made.app, {"rows": [good, bad]})
        ask(made.app, bad)
        ask(made.app, {"customer_id": "nobody", "amount": None})
        assert ask(made.app, wrong).status == 400
        found = scraped(made.app)
        assert found["fivefold_requests_total/returned/answered/1"] == 2
        assert found["fivefold_requests_total/returned/rows_failed/1"] == 1
        assert found["fivefold_requests_total/returned/refused"] == 0
        assert found["fivefold_rows_total/returned/answered/1"] == 3
        assert found["fivefold_features_total/returned/spending.count_30d/present/1"] == 2
        assert found["fivefold_features_total/returned/spending.count_30d/absent/1"] == 1
        assert found["fivefold_features_total/returned/amount/null/1"] == 1
        assert found["fivefold_request_duration_seconds_count/returned/1"] == found["fivefold_batch_rows_count/returned"]
        assert found["fivefold_http_requests_total/POST//predict/{endpoint}/200"] == 3
        assert found["fivefold_serving/returned/returned/1"] == 1
        assert found["fivefold_endpoint_ready/returned"] == found["fivefold_workers"] == 1
        assert found["process_resident_memory_bytes"] > 1e7
        assert found["process_open_fds"] > 3
        newer = scraped(made.app, b"application/openmetrics-text")
        assert {n for n in newer if not n.startswith("process")} >= {n for n in found if not n.startswith("process")}


def test_what_expires_or_is_asked_too_often_is_counted(shop: Any, row: dict[str, Any]) -> None:
    (shop.root / "fivefold.toml").write_text((shop.root / "fivefold.toml").read_text() + '\n[env.dev]\nrequest_rate = "2/h+2"\n')
    with opened(shop) as made:
        assert ask(made.app, {"rows": [row] * 2000}, x_timeout_ms=b"1").status == 504
        assert ask(made.app, row).status == 200
        assert ask(made.app, row).status == 429
        found = scraped(made.app)
        assert found["fivefold_requests_total/returned/expired"] == 1
        assert found["fivefold_rate_limited_requests_total"] == 1
        assert found["fivefold_http_requests_total/POST//predict/{endpoint}/429"] == 1


def test_the_cache_a_trial_and_the_log_are_shown(shop: Any, row: dict[str, Any]) -> None:
    shop.edit('ff.Endpoint("returned", returned)', 'ff.Endpoint("returned", returned, cache="1h", slo="500ms", feature_cache="1h", rollout=ff.Canary("100%"))')
    with shop.open() as w:
        w.catalog.aliases.move("returned", "canary", None, expected=None, actor="a", reason="r")
    with opened(shop) as made:
        for _ in range(3):
            assert ask(made.app, row).status == 200
        found = scraped(made.app)
        assert (found["fivefold_cache_rows_total/returned/miss"], found["fivefold_cache_rows_total/returned/hit"]) == (1, 2)
        assert found["fivefold_cache_entries/returned"] == 1
        assert found["fivefold_feature_cache_rows_total/returned/miss"] == 1
        assert found["fivefold_feature_cache_rows_total/returned/hit"] == 2
        assert found["fivefold_feature_cache_entries/returned"] == 1
        assert found["fivefold_slo_seconds/returned"] == 0.5
        assert found["fivefold_prediction_log_one_of"] == 1
        assert found["fivefold_predictions_logged_total"] + found["fivefold_prediction_log_waiting"] <= 3


@pytest.mark.parametrize("asked", ["", "HEAD"])
def test_it_may_be_asked_with_get_alone(shop: Any, asked: str) -> None:
    with opened(shop) as made:
        assert ask(made.app, None, "/metrics", asked or "POST").status == (200 if asked else 405)
