"""The table of routes: what it finds, and that each of them says who may ask."""

from __future__ import annotations

from typing import Any

import pytest

from fivefold.realtime.endpoints.predictor import predict
from fivefold.realtime.grpc.calls import Calls
from fivefold.realtime.grpc.features import FeatureCalls
from fivefold.realtime.grpc.oip import OipCalls
from fivefold.realtime.http.replies import Reply
from fivefold.realtime.http.routes import MOST_KNOWN, Permission, Request, Response, Route, Routes

PUBLIC = {"/health", "/ping", "/version", "/v2/health/live", "/v2/health/ready"}


async def handler(request: Request) -> Response:
    return Response(200, b"")


def routes(*patterns: str) -> Routes:
    return Routes([Route(*p.split(" "), handler, Permission.READ) for p in patterns])


ROUTES = routes("GET /a", "POST /a", "POST /m/{m}/infer", "POST /m/{m}/versions/{v}/infer", "GET /m/{m}", "GET /m/{m}/ready",
                "GET /m/{m}/versions/{v}", "POST /m/{m}:predict")


@pytest.mark.parametrize(("method", "path", "pattern", "params"), [
    ("GET", "/a", "/a", {}), ("HEAD", "/a", "/a", {}), ("POST", "/m/x/infer", "/m/{m}/infer", {"m": "x"}),
    ("POST", "/m/a b/c/infer", "/m/{m}/infer", {"m": "a b/c"}),
    ("POST", "/m/a/versions/b/versions/2/infer", "/m/{m}/versions/{v}/infer", {"m": "a/versions/b", "v": "2"}),
    ("GET", "/m/x/ready", "/m/{m}/ready", {"m": "x"}), ("GET", "/m/ready", "/m/{m}", {"m": "ready"}),
    ("GET", "/m/a/versions/3", "/m/{m}/versions/{v}", {"m": "a", "v": "3"}),
    ("POST", "/m/a:b:predict", "/m/{m}:predict", {"m": "a:b"}), ("GET", "/m/\n", "/m/{m}", {"m": "\n"}),
])
def test_a_path_is_matched_from_the_right(method: str, path: str, pattern: str, params: dict[str, str]) -> None:
    for _ in range(2):
        found = ROUTES.find(method, path)
        assert found is not None
        assert (found[0].pattern, found[1]) == (pattern, params)


@pytest.mark.parametrize("path", ["/", "", "/b", "/m", "/m/", "a", "/a/", "*"])
def test_what_is_not_registered_is_not_there(path: str) -> None:
    assert ROUTES.find("GET", path) is None


def test_another_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(Reply) as found:
        ROUTES.find("DELETE", "/a")
    assert (found.value.status, found.value.hint) == (405, "Use GET or HEAD or POST.")
    assert found.value.headers == ((b"allow", b"GET, HEAD, POST"),)


def test_what_is_remembered_is_bounded() -> None:
    made = routes("GET /m/{m}")
    for i in range(3 * MOST_KNOWN):
        made.find("GET", f"/m/{i}")
    assert len(made._known) <= MOST_KNOWN


def test_every_route_of_the_server_has_a_permission_and_only_health_is_public(shop: Any) -> None:
    with shop.app() as asker:
        for route in asker.app.routes.all:
            assert isinstance(route.permission, Permission)
            assert (route.permission is Permission.PUBLIC) == (route.pattern in PUBLIC), route
            if route.pattern.endswith(("/infer", ":predict", "/invocations")) or route.pattern.startswith("/predict/"):
                assert route.permission is Permission.PREDICT


def test_every_call_of_grpc_has_a_permission_and_only_health_is_public() -> None:
    calls = Calls([*OipCalls({}, predict, lambda: False).calls, *FeatureCalls(None, None).calls])  # type: ignore[arg-type]
    public = {c.path.rpartition("/")[2] for c in calls.all if c.permission is Permission.PUBLIC}
    assert public == {"ServerLive", "ServerReady"}
    assert {c.path.rpartition("/")[2] for c in calls.all if c.permission is Permission.PREDICT} == {
        "ModelInfer", "ModelStreamInfer"}
    assert len({c.path for c in calls.all}) == len(calls.all)
