"""The same endpoint in replicas of Ray Serve, on a cluster that the test starts: needs the extra `ray`, 2 GiB, a minute."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shop_project import AT, MOMENT, PROJECT, ROW, Shop

from fivefold.core.errors import Invalid
from fivefold.demo.start import start
from fivefold.workspace.predictions import newest_predictions

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("ray"), pytest.mark.timeout(280)]

ROWS = {"rows": [ROW, {"customer_id": "c2", "amount": 40.25}, {"customer_id": "nobody", "amount": None}, {"amount": "x"}]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("ray") / "shop"
    start(root, "blank")
    (root / "project.py").write_text(PROJECT)
    shop = Shop(root)
    shop.release()
    shop.materialise()
    return shop


class OnRay:
    """`fivefold serve --on ray` as a process."""

    def __init__(self, shop: Shop, *words: str) -> None:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = shop._command(("serve", "--on", "ray", "--port", str(self.port), "--at", MOMENT, *words), "")
        env = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if re.search(r"on Ray at http://127\.0\.0\.1:\d+", line):
                return
        raise AssertionError(f"it did not serve: {self.process.communicate()[1]}")

    def ask(self, value: Any, path: str = "/predict/returned", **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            body = None if value is None else json.dumps(value)
            named = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
            connection.request("GET" if value is None else "POST", path, body, named)
            reply = connection.getresponse()
            raw, more = reply.read(), {k.lower(): v for k, v in reply.getheaders()}
            return reply.status, json.loads(raw) if "json" in more.get("content-type", "") else raw, more


@pytest.fixture(scope="module")
def ray(made: Shop) -> Iterator[OnRay]:
    found = OnRay(made, "--workers", "2")
    yield found
    if found.process.poll() is None:
        found.process.send_signal(signal.SIGTERM)
        try:
            found.process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            found.process.kill()
            raise


def same(answer: Any) -> Any:
    """An answer without what differs each time."""
    return {**answer, "rows": [{k: v for k, v in r.items() if k != "id"} for r in answer["rows"]]}


def test_replicas_of_ray_answer_with_the_same_bits_as_our_server(made: Shop, ray: OnRay) -> None:
    with made.serve() as ours:
        for value in ({"rows": [ROW]}, ROWS):
            status, expected = ours.ask(value)
            for _ in range(8):  # whichever replica it is
                found, answer, _ = ray.ask(value)
                assert (found, same(answer)) == (status, same(expected))
        infer = {"inputs": [{"name": "customer_id", "datatype": "BYTES", "shape": [2], "data": ["c1", "c2"]},
                            {"name": "amount", "datatype": "FP64", "shape": [2], "data": [12.5, None]}]}
        assert ray.ask(infer, "/v2/models/returned/infer")[1]["outputs"] == ours.ask(infer, "/v2/models/returned/infer")[1]["outputs"]
        status, expected = ours.get("/v2/models/returned")
        assert ray.ask(None, "/v2/models/returned")[:2] == (status, expected)


def test_what_is_wrong_is_told_as_our_server_tells_it(made: Shop, ray: OnRay) -> None:
    with made.serve() as ours:
        for value, path in (({"amount": 1}, "/predict/other"), ([1], "/predict/returned"), ({}, "/nothing")):
            assert ray.ask(value, path)[:2] == ours.ask(value, path)
    assert ray.ask(ROW, host="evil.example.com")[0] == 421
    assert ray.ask(None, "/health")[:2] == (200, {"live": True})
    assert ray.ask(None, "/v2/health/ready")[0] == 200


def test_a_stream_of_events_comes_through_whole(ray: OnRay) -> None:
    status, raw, headers = ray.ask(ROWS, accept="text/event-stream")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    assert raw.count(b"event: ") + raw.count(b"data: ") >= 4
    assert b"event: end" in raw


def test_two_replicas_answer_and_both_log(made: Shop, ray: OnRay) -> None:
    ids = {ray.ask(ROW)[1]["rows"][0]["id"] for _ in range(40)}
    deadline = time.monotonic() + 20
    logged: set[str] = set()
    while time.monotonic() < deadline and not ids <= logged:
        time.sleep(0.5)
        logged = {p.id for p in newest_predictions(made.root / ".fivefold", 1000)}
    assert ids <= logged
    segments = {p.name for p in (made.root / ".fivefold" / "log" / "predictions").glob("*.jsonl")}
    assert len(segments) >= 2, segments


def test_a_promotion_is_picked_up_by_all_replicas(made: Shop, ray: OnRay) -> None:
    before = ray.ask(ROW)[1]["version"]
    number = made.another_version()
    made.materialise()
    deadline = time.monotonic() + 30
    row = 0
    while row < 20 and time.monotonic() < deadline:
        status, answer, _ = ray.ask(ROW)
        assert status == 200
        row = row + 1 if answer["version"] == number else 0
    assert row == 20
    assert number != before


def test_it_leaves_in_order_when_told_to(made: Shop, ray: OnRay) -> None:
    identity = ray.ask(ROW)[1]["rows"][0]["id"]
    ray.process.send_signal(signal.SIGTERM)
    _, err = ray.process.communicate(timeout=90)
    assert (ray.process.returncode, "Traceback" in err) == (0, False), err
    # what was logged has been made into files, and no segment is left
    assert list((made.root / ".fivefold" / "log" / "predictions").glob("*.jsonl")) == []
    assert identity in {p.id for p in newest_predictions(made.root / ".fivefold", 1000)}


@pytest.mark.parametrize("words", [("--grpc-port", "0"), ("--on", "mars"), ("--host", "0.0.0.0"), ("--access-log", "-")])
def test_what_ray_cannot_do_is_refused(made: Shop, words: tuple[str, ...]) -> None:
    found = made.run("serve", "--on", "ray", *words)
    assert (found.returncode, found.stderr.startswith("error: ")) == (1, True), found.stderr


def test_the_scale_is_that_of_our_autoscaler(made: Shop) -> None:
    from fivefold.realtime.processes.autoscaler import Policy
    from fivefold.realtime.processes.on_ray import application

    made_application = application(made.root, replicas="1-3", at=AT)
    config = made_application._bound_deployment._deployment_config.autoscaling_config
    assert (config.min_replicas, config.max_replicas) == (1, 3)
    assert config.target_ongoing_requests == Policy().target
    with pytest.raises(Invalid):
        application(Path(made.root), host="0.0.0.0")
