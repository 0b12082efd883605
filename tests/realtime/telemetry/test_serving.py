"""Metrics, access log and traces of `fivefold serve` as processes."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus


def scraped(server: Any, accept: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    connection = server.connect()
    connection.request("GET", "/metrics", headers={"accept": accept} if accept else {})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    assert reply.status == 200, text
    parse = openmetrics if accept else prometheus
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in parse(text) for s in family.samples}


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return sum(v for (n, have), v in found.items() if n == name and labels.items() <= dict(have).items())


def workers_of(server: Any) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def until(true: Any, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_any_worker_shows_the_numbers_of_all_and_a_killed_one_takes_none_along(shop: Any, row: dict[str, Any]) -> None:
    with shop.serve("--workers", "2") as server:
        until(lambda: value(scraped(server), "fivefold_workers") == 2)
        asked, before = 0, 0.0
        for _ in range(30):
            for _ in range(5):
                assert server.ask(row)[0] == 200
                asked += 1
            # each scrape is a new connection, so that now the one and now the other worker answers
            now = value(scraped(server), "fivefold_requests_total", endpoint="returned", outcome="answered")
            assert before <= now <= asked
            before = now
        until(lambda: value(scraped(server), "fivefold_requests_total", outcome="answered") == asked)
        found = scraped(server)
        assert value(found, "fivefold_request_duration_seconds_count", endpoint="returned", version="1") == asked
        assert value(found, "fivefold_request_duration_seconds_bucket", le="+Inf") == asked
        assert value(found, "fivefold_features_total", feature="amount", status="present") == asked
        assert value(found, "fivefold_http_requests_total", route="/predict/{endpoint}", status="200") == asked
        killed = workers_of(server)[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: value(scraped(server), "fivefold_workers_ended_total", why="died") == 1)
        until(lambda: value(scraped(server), "fivefold_workers") == 2)
        after = scraped(server)
        assert value(after, "fivefold_requests_total", outcome="answered") == asked
        assert value(after, "process_cpu_seconds_total") >= value(found, "process_cpu_seconds_total")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: value(scraped(server), "fivefold_workers_ended_total", why="left") == 2)
        assert value(scraped(server), "fivefold_requests_total", outcome="answered") == asked


def test_the_access_log_has_a_line_for_each_request_and_nothing_of_what_was_sent(shop: Any, row: dict[str, Any]) -> None:
    log = shop.root / "access.jsonl"
    row = row | {"customer_id": "customer one"}
    with shop.serve("--access-log", str(log), "--grpc-port", "0") as server:
        connection = server.connect()
        connection.request("POST", "/predict/returned?at=2026-02-25T06:13:20Z", json.dumps(row),
                           {"content-type": "application/json", "x-request-id": "mine", "authorization": "Bearer secret"})
        reply = connection.getresponse()
        size = len(reply.read())
        assert reply.headers["x-request-id"] == "mine"
        connection.request("GET", "/nothing")
        reply = connection.getresponse()
        reply.read()
        made = reply.headers["x-request-id"]
        assert len(made) == 16
        connection.close()
        assert server.stop()[0] == 0
    text = log.read_text()
    first, second = map(json.loads, text.splitlines())
    assert (first["method"], first["route"], first["endpoint"], first["status"], first["bytes"], first["id"], first["peer"]) == (
        "POST", "/predict/{endpoint}", "returned", 200, size, "mine", "127.0.0.1")
    assert first["principal"] == "local"
    assert 0 < first["ms"] < 5000
    assert (second["route"], second["status"], second["id"]) == ("", 404, made)
    assert "secret" not in text
    assert row["customer_id"] not in text
    assert "2026-02-25T06" not in text


def test_traces_go_where_opentelemetry_s_variables_say(shop: Any, row: dict[str, Any]) -> None:
    set_it = "import os; os.environ['OTEL_TRACES_EXPORTER'] = 'console'"
    with shop.serve("--traces", "1", program=set_it) as server:
        assert server.ask(row)[0] == 200
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=30)
    assert err == ""
    for name in ("POST /predict/{endpoint}", "decode", "lookup", "model", "encode"):
        assert f'"name": "{name}"' in out


def test_without_an_exporter_it_says_which_there_are(shop: Any) -> None:
    done = shop.run("serve", "--port", "0", "--traces", "1", program="import os; os.environ['OTEL_TRACES_EXPORTER'] = 'x'")
    assert done.returncode == 1
    assert "no exporter of traces 'x' is installed (have: console" in done.stderr
    assert "--traces 2 is no share of requests" in shop.run("serve", "--port", "0", "--traces", "2").stderr


def test_traces_reach_a_collector(shop: Any, row: dict[str, Any]) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    got: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            got.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *said: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        set_it = f"import os; os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:{collector.server_port}'"
        with shop.serve("--traces", "1", program=set_it) as server:
            assert server.ask(row)[0] == 200
            assert server.stop()[0] == 0
        collector.shutdown()
    resources = [resource for request in got for resource in request.resource_spans]
    assert {(a.key, a.value.string_value) for r in resources for a in r.resource.attributes} >= {("service.name", "fivefold")}
    spans = {span.name: span for r in resources for scope in r.scope_spans for span in scope.spans}
    whole = spans["POST /predict/{endpoint}"]
    assert {spans[n].parent_span_id for n in ("decode", "lookup", "model", "encode")} == {whole.span_id}
