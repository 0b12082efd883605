"""Every route and every call against every role and nobody; hosts, origins, and where a server may listen."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fivefold.access import secret
from fivefold.access.authenticate import FRESH_SECONDS, Authenticator, Credentials
from fivefold.core.config import environment, settings
from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.identity import LOCAL, NOBODY, Forbidden, Principal, Role, SlowDown, Unauthenticated
from fivefold.realtime.door import OPEN, ROLES, Door
from fivefold.realtime.endpoints.predictor import predict
from fivefold.realtime.grpc.calls import Call, Calls
from fivefold.realtime.grpc.door import peer_address
from fivefold.realtime.grpc.features import FeatureCalls
from fivefold.realtime.grpc.oip import OipCalls
from fivefold.realtime.http.features import FeatureRoutes
from fivefold.realtime.http.http1 import Response
from fivefold.realtime.http.routes import Permission, Request, Route, Routes
from fivefold.realtime.processes.exposure import host_names, must_authenticate

TABLE = {
    Permission.PUBLIC: {None, *Role},
    Permission.READ: set(Role),
    Permission.PREDICT: set(Role),
    Permission.OPERATE: {Role.OPERATOR, Role.ADMIN},
}
"""Who may ask for what; None is nobody."""


class Keys:
    """A shop behind a closed door, with a token for each role."""

    def __init__(self, asker: Any, catalog: Any, door: Door) -> None:
        self.asker, self.catalog, self.door = asker, catalog, door
        self.tokens = {role: self.token(str(role), role) for role in Role}

    def token(self, name: str, role: Role | None) -> str:
        made = secret.new_token()
        self.catalog.tokens.add(made.id, name, made.digest, actor="root")
        if role is not None:
            self.catalog.grants.grant(f"token:{name}", role, actor="root")
        return f"Bearer {made.text}"


@pytest.fixture
def keys(shop: Any) -> Iterator[Keys]:
    with shop.open() as workspace:
        door = Door(Authenticator(workspace.catalog))
        with shop.app(door=door, features=FeatureRoutes(None, None)) as asker:  # type: ignore[arg-type]
            yield Keys(asker, workspace.catalog, door)
        door.end()


def test_every_permission_is_in_the_table_and_each_has_one_role() -> None:
    assert set(TABLE) == set(Permission)
    assert set(ROLES) == set(Permission) - {Permission.PUBLIC}
    for permission, role in ROLES.items():
        assert TABLE[permission] == set(tuple(Role)[tuple(Role).index(role):])


def test_every_route_lets_in_who_may_and_nobody_else(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answered(request: Request) -> Response:
        return Response(299, json.dumps({"who": str(request.principal)}).encode())

    routes = keys.asker.app.routes
    keys.asker.app.routes = Routes(route._replace(handler=answered) for route in routes.all)
    assert len(routes.all) > 20
    for route in routes.all:
        path = route.pattern.replace("{", "").replace("}", "")
        for role in (None, *Role):
            more = {"authorization": keys.tokens[role]} if role else {}
            status, body, headers = keys.asker.raw(b"{}", path, route.method, **more)
            where = (route.method, route.pattern, role, body)
            if role in TABLE[route.permission]:
                assert status == 299, where
                assert json.loads(body)["who"] == ("nobody" if route.permission is Permission.PUBLIC else f"token:{role}")
            elif role is None:
                assert status == 401, where
                assert b"Basic" in headers[b"www-authenticate"]
            else:
                assert status == 403, where
                assert str(ROLES[route.permission]).encode() in body


def test_every_call_lets_in_who_may_and_nobody_else(keys: Keys) -> None:
    features: Any = FeatureCalls(None, None)  # type: ignore[arg-type]
    calls = [*OipCalls({}, predict, lambda: False).calls, *features.calls]
    assert len(calls) > 15
    for call in Calls(calls, keys.door).all:
        for role in (None, *Role):
            given = Credentials(keys.tokens[role].encode() if role else b"", "", "10.0.0.1")
            try:
                found = keys.door.admit_waiting(call.permission, given)
            except FivefoldError as e:
                assert role not in TABLE[call.permission], (call.path, role)
                assert isinstance(e, Forbidden if role else Unauthenticated)
            else:
                assert role in TABLE[call.permission], (call.path, role)
                assert found is NOBODY or found.name == role


def test_a_route_or_a_call_without_a_permission_is_not_registered() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, b"")

    for wrong in (None, "", "public", True):
        with pytest.raises(Invalid, match="GET /x: permission: .*accepted: public, read, predict, operate"):
            Routes([Route("GET", "/x", handler, wrong)])  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="/a/B: permission"):
            Calls([Call("/a/B", None, handler, wrong)])  # type: ignore[arg-type]


def test_the_answers_say_what_is_missing_and_not_who_there_is(keys: Keys) -> None:
    status, body, headers = keys.asker.send(path="/", method="GET")
    assert (status, body["error"]["message"]) == (401, "this needs credentials.")
    assert headers[b"www-authenticate"].startswith(b"Basic realm=")
    status, body, _ = keys.asker.send(b"[]", "/streams/x", authorization=keys.tokens[Role.EDITOR])
    assert (status, body["error"]["message"]) == (
        403, "this needs the role operator or a greater one; token:editor has editor.")
    assert body["error"]["hint"] == "An admin gives it: fivefold grant token:editor operator."
    status, body, _ = keys.asker.send(path="/", method="GET", authorization=keys.token("new", None))
    assert (status, "token:new has none" in body["error"]["message"]) == (403, True)
    keys.catalog.users.add("ann", secret.password_hash("a long password"), actor="root")
    said = set()
    for name in ("ann", "bob"):
        header = "Basic " + base64.b64encode(f"{name}:wrong".encode()).decode()
        said.add(str(keys.asker.send(path="/", method="GET", authorization=header)[:2]))
    assert len(said) == 1


def test_a_token_in_the_query_is_no_token(keys: Keys) -> None:
    token = keys.tokens[Role.ADMIN].partition(" ")[2]
    for query in (f"token={token}", f"access_token={token}", f"authorization=Bearer%20{token}"):
        assert keys.asker.send(path=f"/?{query}", method="GET")[0] == 401


def test_after_many_wrong_tokens_it_says_when_to_come_again(keys: Keys) -> None:
    found = [keys.asker.send(path="/", method="GET", authorization=f"Bearer {i}") for i in range(20)]
    assert {status for status, _, _ in found} == {401, 429}
    assert int(found[-1][2][b"retry-after"]) >= 1
    assert keys.asker.send(path="/health", method="GET", authorization="Bearer x")[0] == 200


def test_an_open_door_is_open_to_its_own_machine_alone() -> None:
    for peer in ("127.0.0.1", "127.9.9.9", "::1", ""):
        assert OPEN.known(Permission.OPERATE, Credentials(b"", "", peer)) is LOCAL
    for peer in ("10.0.0.1", "2001:db8::1", "128.0.0.1", "unknown:x"):
        with pytest.raises(Unauthenticated):
            OPEN.known(Permission.READ, Credentials(b"", "", peer))
        assert OPEN.known(Permission.PUBLIC, Credentials(b"", "", peer)) is NOBODY


def test_a_door_closes_once_there_is_somebody_and_never_opens(keys: Keys) -> None:
    door = Door(Authenticator(keys.catalog), closed=False)
    given = Credentials(b"", "", "127.0.0.1")
    door.close_if(lambda: False)
    assert door.known(Permission.READ, given) is LOCAL
    door.close_if(keys.catalog.grants.anybody)
    door.close_if(lambda: False)
    with pytest.raises(Unauthenticated):
        door.known(Permission.READ, given)
    door.end()


def test_one_token_is_looked_up_once_for_all_who_wait(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    found, whole = [], keys.catalog.tokens.find
    monkeypatch.setattr(keys.catalog.tokens, "find", lambda id: found.append(id) or time.sleep(0.1) or whole(id))
    given = Credentials(keys.tokens[Role.VIEWER].encode(), "", "10.0.0.1")

    async def asked() -> list[Principal]:
        left = asyncio.ensure_future(keys.door.admit(Permission.READ, given))
        waiting = [asyncio.ensure_future(keys.door.admit(Permission.READ, given)) for _ in range(50)]
        await asyncio.sleep(0.01)
        left.cancel()
        return await asyncio.gather(*waiting)

    assert {p.name for p in asyncio.run(asked())} == {"viewer"}
    assert len(found) == 1


def test_a_flood_of_passwords_is_refused_and_does_not_hold_up_tokens(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_scrypt", lambda *_: time.sleep(0.05) or b"")

    async def asked() -> list[Any]:
        flood = [keys.door.admit(Permission.READ, Credentials(b"Basic " + base64.b64encode(b"u%d:p" % i), "", f"10.0.1.{i}"))
                 for i in range(200)]
        waiting = [asyncio.ensure_future(each) for each in flood]
        await asyncio.sleep(0)
        began = time.monotonic()
        token = Credentials(keys.tokens[Role.VIEWER].encode(), "", "10.0.0.1")
        assert (await keys.door.admit(Permission.READ, token)).name == "viewer"
        assert time.monotonic() - began < 1
        return await asyncio.gather(*waiting, return_exceptions=True)

    outcomes = {type(o) for o in asyncio.run(asked())}
    assert outcomes == {SlowDown, Unauthenticated}


def test_a_catalog_that_hangs_stops_nobody_who_was_known(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fivefold.realtime.door.PATIENCE_SECONDS", 0.05)
    seconds = [0.0]
    door = Door(Authenticator(keys.catalog, tick=lambda: seconds[0]))
    known, new = (Credentials(keys.tokens[r].encode(), "", "10.0.0.1") for r in (Role.VIEWER, Role.ADMIN))
    assert asyncio.run(door.admit(Permission.READ, known)).name == "viewer"
    over, whole = threading.Event(), keys.catalog.tokens.find
    monkeypatch.setattr(keys.catalog.tokens, "find", lambda id: over.wait(20) and whole(id))
    for wait in (lambda: asyncio.run(door.admit(Permission.READ, known)), lambda: door.admit_waiting(Permission.READ, known)):
        seconds[0] += FRESH_SECONDS
        assert door.known(Permission.READ, known) is None
        assert wait().name == "viewer"
        assert door.known(Permission.READ, known) is not None, "the next ones do not wait"
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(door.admit(Permission.READ, new), 0.2))
    over.set()
    assert door.admit_waiting(Permission.READ, new).name == "admin"
    door.end()


def test_a_use_is_written_down_and_nobody_waits_for_it(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    began, over, whole = threading.Event(), threading.Event(), keys.catalog.tokens.used
    monkeypatch.setattr(keys.catalog.tokens, "used", lambda *more: began.set() or (over.wait(20) and whole(*more)))
    assert keys.door.admit_waiting(Permission.READ, Credentials(keys.tokens[Role.VIEWER].encode(), "", "")).name == "viewer"
    assert began.wait(10)
    over.set()
    until = time.monotonic() + 10
    while not any(t.used_at for t in keys.catalog.tokens.all()):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(("host", "required", "anybody", "encrypted", "insecure", "expected"), [
    ("127.0.0.1", False, False, False, False, False), ("localhost", False, True, False, False, True), ("::1", True, True, False, False, True),
    ("0.0.0.0", False, True, True, False, True), ("10.0.0.1", True, True, False, True, True),
    ("127.0.0.1", True, False, False, False, "fivefold users add NAME"), ("0.0.0.0", False, False, True, False, "fivefold tokens create NAME"),
    ("::", False, False, True, True, "without authentication"), ("192.168.1.7", False, False, False, True, "without authentication"),
    ("example.com", False, False, True, False, "without authentication"), ("", False, False, True, False, "without authentication"),
    ("0.0.0.0", False, True, False, False, "--tls-cert and --tls-key; or --insecure-http"), ("example.com", True, True, False, False, "without TLS"),
])
def test_where_a_server_may_listen(
    host: str, required: bool, anybody: bool, encrypted: bool, insecure: bool, expected: bool | str
) -> None:
    given = {"required": required, "anybody": anybody, "encrypted": encrypted, "insecure": insecure}
    if isinstance(expected, bool):
        assert must_authenticate(host, **given) is expected
    else:
        with pytest.raises(Invalid) as refused:
            must_authenticate(host, **given)
        assert expected in str(refused.value)


def test_all_addresses_at_once_need_a_name() -> None:
    with pytest.raises(Invalid, match="hosts = "):
        host_names("0.0.0.0", ())
    with pytest.raises(Invalid, match="names without scheme"):
        host_names("10.0.0.1", ("https://x",))
    assert host_names("::", ("m.example",))[-1] == "m.example"
    assert host_names("10.0.0.1", ())[-1] == "10.0.0.1"


@pytest.mark.parametrize("origin", ["*", "app.example", "https://*", "ftp://x", "https://", "https://x/y", "https://a@b"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(Invalid, match="origins: "):
        environment(settings(f"[env.p]\norigins = ['{origin}']"), "p", {})


def test_the_environment_holds_who_is_let_in() -> None:
    text = "[default]\nauth.required = true\n[env.p]\nhosts = ['m.example']\norigins = ['https://app.example:8443']"
    found = environment(settings(text), "p", {})
    assert (found.auth.required, found.hosts, found.origins) == (True, ("m.example",), ("https://app.example:8443",))
    assert not environment(settings(""), "dev", {}).auth.required
    with pytest.raises(Invalid, match="requird"):
        environment(settings("[env.p.auth]\nrequird = true"), "p", {})


def test_a_named_origin_may_ask_and_read_and_another_may_not(shop: Any) -> None:
    ours, ask = "https://app.example", {"access_control_request_method": "POST"}
    with shop.app(origins=(ours,), hosts=("m.example", "localhost")) as asker:
        status, body, headers = asker.raw(path="/predict/returned", method="OPTIONS", origin=ours, **ask)
        assert (status, body) == (200, b"")
        assert headers[b"access-control-allow-origin"] == ours.encode()
        assert b"authorization" in headers[b"access-control-allow-headers"]
        assert b"access-control-allow-credentials" not in headers
        for origin in ("https://evil.example", "https://app.example.evil", "http://app.example", "https://app.example:444", "null"):
            status, _, headers = asker.raw(path="/predict/returned", method="OPTIONS", origin=origin, **ask)
            assert status == 403
            assert b"access-control-allow-origin" not in headers
        row = b'{"customer_id": "c1", "amount": 12.5}'
        status, _, headers = asker.send(row, origin=ours)
        assert (status, headers[b"access-control-allow-origin"], headers[b"vary"]) == (200, ours.encode(), b"origin")
        assert asker.send(row)[2][b"vary"] == b"origin"
        # a page of our own name is answered, and only it may read that
        status, _, headers = asker.send(row, origin="http://localhost:3000")
        assert (status, b"access-control-allow-origin" in headers) == (200, False)
        assert asker.send(row, host="m.example:443")[0] == 200
        assert asker.send(row, host="evil.example")[0] == 421
    with shop.app() as asker:
        assert asker.raw(path="/predict/returned", method="OPTIONS", origin="http://localhost", **ask)[0] == 405
        assert b"vary" not in asker.send(row)[2]


def test_a_page_is_told_why_it_is_refused(keys: Keys, shop: Any) -> None:
    with shop.app(origins=("https://app.example",), door=keys.door) as asker:
        status, _, headers = asker.send(b"{}", origin="https://app.example")
        assert (status, headers[b"access-control-allow-origin"]) == (401, b"https://app.example")
        status, *_ = asker.raw(path="/predict/returned", method="OPTIONS", origin="https://app.example", access_control_request_method="POST")
        assert status == 200


@pytest.mark.parametrize(("peer", "address"), [
    ("ipv4:127.0.0.1:50", "127.0.0.1"), ("ipv6:%5B::1%5D:50", "::1"), ("ipv6:[2001:db8::1]:50", "2001:db8::1"), ("unix:/x", "unix:/x")])
def test_the_address_of_a_call(peer: str, address: str) -> None:
    assert peer_address(peer) == address


def test_a_workspace_in_the_hands_of_a_principal_writes_its_name(shop: Any) -> None:
    with shop.open() as workspace:
        mine = workspace.acting(Principal("ann", "user"))
        mine.catalog.users.add("bob", None, actor=mine.actor)
        assert workspace.catalog.audit.log(limit=1)[0].actor == "user:ann"


def test_whoever_has_a_name_is_held_to_a_rate_by_it_whatever_else_they_send(keys: Keys, row: dict[str, Any]) -> None:
    from fivefold.realtime.batching.batcher import Batcher
    from fivefold.realtime.batching.gate import Gate
    from fivefold.realtime.batching.rates import Rates

    gate = keys.asker.app._gate = Gate(keys.asker.live, Batcher({}), Rates(0.01, 2), b"x-api-key")
    other = keys.token("other", Role.VIEWER)
    second_of_one_service = keys.token(str(Role.VIEWER), None)
    body = json.dumps(row).encode()

    def ask(authorization: str, key: str) -> int:
        gate._batcher = Batcher({})
        return int(keys.asker.send(body, authorization=authorization, x_api_key=key)[0])

    viewer = keys.tokens[Role.VIEWER]
    assert [ask(viewer, f"made up {n}") for n in range(3)] == [200, 200, 429]
    assert ask(second_of_one_service, "y") == 429
    assert ask(other, "made up 0") == 200
    assert gate.limited == 2


def test_a_header_is_not_taken_for_a_name(shop: Any, row: dict[str, Any]) -> None:
    from fivefold.realtime.batching.batcher import Batcher
    from fivefold.realtime.batching.gate import Gate
    from fivefold.realtime.batching.rates import Rates
    from fivefold.realtime.protocols.bounds import Limited

    gate = Gate({}, Batcher({}), Rates(0.01, 1), b"x-api-key")
    ann = Principal("ann", "user")
    gate.require({}, {b"x-api-key": b"user:ann"}, "10.0.0.1")
    gate.require({}, {}, "10.0.0.1", ann)
    gate.require({}, {}, "10.0.0.1", Principal("ann", "token"))
    gate.require({}, {}, "10.0.0.1", LOCAL)
    with pytest.raises(Limited):
        gate.require({}, {b"x-api-key": b"another"}, "10.0.0.2", ann)
