"""`fivefold serve` as a process that asks for credentials: HTTP and gRPC, with TLS and client certificates."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from shop_project import ROW

from fivefold.access import secret
from fivefold.access.authenticate import FRESH_SECONDS
from fivefold.core.identity import Role
from fivefold.realtime.grpc.features import SERVICE as FEATURES
from fivefold.realtime.grpc.oip import SERVICE
from fivefold.realtime.http.tls import LOOK_SECONDS
from fivefold.realtime.protos import features_pb2, inference_pb2

WITHIN = FRESH_SECONDS + 2


def made_token(shop: Any, name: str = "app", role: Role = Role.VIEWER) -> str:
    made = secret.new_token()
    with shop.open() as workspace:
        workspace.catalog.tokens.add(made.id, name, made.digest, actor="root")
        workspace.catalog.grants.grant(f"token:{name}", role, actor="root")
    return made.text


def ask(connection: http.client.HTTPConnection, token: str | None, path: str = "/predict/returned") -> tuple[int, Any]:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    connection.request("POST", path, json.dumps(ROW), headers)
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def once(connection: http.client.HTTPConnection, token: str | None, path: str = "/predict/returned") -> tuple[int, Any]:
    """The same on a connection of its own."""
    with contextlib.closing(connection):
        return ask(connection, token, path)


def infer_request() -> Any:
    made = inference_pb2.ModelInferRequest(model_name="returned")
    made.inputs.add(name="customer_id", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"c1")
    made.inputs.add(name="amount", datatype="FP64", shape=[1]).contents.fp64_contents.append(12.5)
    return made


class Calls:
    """Calls over one channel, with a token or none."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self._infer = channel.unary_unary(
            f"{SERVICE}ModelInfer", inference_pb2.ModelInferRequest.SerializeToString, inference_pb2.ModelInferResponse.FromString)
        self._get = channel.unary_unary(
            f"{FEATURES}Get", features_pb2.GetRequest.SerializeToString, features_pb2.GetResponse.FromString)
        self._push = channel.unary_unary(
            f"{FEATURES}Push", features_pb2.PushRequest.SerializeToString, features_pb2.PushResponse.FromString)
        self.ready = channel.unary_unary(
            f"{SERVICE}ServerReady", inference_pb2.ServerReadyRequest.SerializeToString, inference_pb2.ServerReadyResponse.FromString)
        self.stream = channel.stream_stream(
            f"{SERVICE}ModelStreamInfer", inference_pb2.ModelInferRequest.SerializeToString, inference_pb2.ModelStreamInferResponse.FromString)

    def code(self, what: str, *metadata: tuple[str, Any]) -> grpc.StatusCode:
        call, request = {"infer": (self._infer, infer_request()), "get": (self._get, features_pb2.GetRequest()),
                         "push": (self._push, features_pb2.PushRequest(stream="x"))}[what]
        try:
            call(request, metadata=metadata, timeout=20)
        except grpc.RpcError as e:
            found: grpc.StatusCode = e.code()
            return found
        return grpc.StatusCode.OK


def test_over_http_a_token_opens_and_its_end_closes_a_connection_that_is_there(shop: Any) -> None:
    token = made_token(shop)
    with shop.serve() as server, contextlib.closing(server.connect()) as connection:
        assert '-H "authorization: Bearer $TOKEN"' in server.said
        assert ask(connection, None)[0] == 401
        assert ask(connection, token)[0] == 200
        assert ask(connection, token, "/streams/x")[0] == 403
        assert server.get("/health")[0] == 200
        with shop.open() as workspace:
            workspace.catalog.tokens.revoke("app", actor="root")
        began = time.monotonic()
        while (status := ask(connection, token)[0]) == 200:
            assert time.monotonic() - began < WITHIN
            time.sleep(0.1)
        assert status == 401
        assert token not in server.said + server.stop()[1]


def test_a_server_that_was_open_asks_as_soon_as_there_is_somebody(shop: Any) -> None:
    with shop.serve() as server:
        assert server.ask()[0] == 200
        token = made_token(shop)
        began = time.monotonic()
        while server.ask()[0] == 200:
            assert time.monotonic() - began < 10
            time.sleep(0.1)
        assert server.ask()[0] == 401
        assert once(server.connect(), token)[0] == 200


def test_over_grpc_a_token_in_the_metadata_opens(shop: Any) -> None:
    viewer, operator = made_token(shop), made_token(shop, "ops", Role.OPERATOR)
    code = grpc.StatusCode
    with shop.serve("--grpc-port", "0") as server, grpc.insecure_channel(server.grpc) as channel:
        calls = Calls(channel)
        bearer = ("authorization", f"Bearer {viewer}")
        assert calls.ready(inference_pb2.ServerReadyRequest()).ready
        for what in ("infer", "get", "push"):
            assert calls.code(what) is code.UNAUTHENTICATED
            assert calls.code(what, ("authorization", "Bearer x")) is code.UNAUTHENTICATED
            assert calls.code(what, bearer, bearer) is code.UNAUTHENTICATED
        assert calls.code("infer", bearer) is code.OK
        assert calls.code("get", bearer) is code.INVALID_ARGUMENT, "it got as far as the request"
        assert calls.code("push", bearer) is code.PERMISSION_DENIED
        assert calls.code("push", ("authorization", f"Bearer {operator}")) not in (code.PERMISSION_DENIED, code.UNAUTHENTICATED)


def test_a_stream_of_grpc_ends_when_its_token_does(shop: Any) -> None:
    token = made_token(shop)

    def requests() -> Iterator[Any]:
        while True:
            yield infer_request()
            time.sleep(0.05)

    with shop.serve("--grpc-port", "0") as server, grpc.insecure_channel(server.grpc) as channel:
        answers = Calls(channel).stream(requests(), metadata=[("authorization", f"Bearer {token}")], timeout=30)
        assert next(answers).infer_response.model_name == "returned"
        with shop.open() as workspace:
            workspace.catalog.tokens.revoke("app", actor="root")
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as ended:
            for _ in answers:
                assert time.monotonic() - began < WITHIN
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_an_unmodified_client_of_triton_sends_its_token(shop: Any) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    token = made_token(shop)
    with shop.serve("--grpc-port", "0") as server, triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_live()
        assert client.is_model_ready("returned", headers={"authorization": f"Bearer {token}"})
        with pytest.raises(Exception, match="UNAUTHENTICATED"):
            client.get_model_metadata("returned")


class Tls:
    """A server with certificates, and clients of it."""

    def __init__(self, server: Any, authority: Authority) -> None:
        self.server, self.authority = server, authority

    def context(self, name: str | None = None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=self.authority.file)
        if name:
            made.load_cert_chain(self.authority.folder / f"{name}.pem", self.authority.folder / f"{name}.key")
        return made

    def connect(self, name: str | None = None) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.server.port, context=self.context(name), timeout=20)

    def channel(self, name: str | None = None) -> grpc.Channel:
        pair = [(self.authority.folder / f"{name}.{end}").read_bytes() for end in ("key", "pem")] if name else [None, None]
        return grpc.secure_channel(self.server.grpc, grpc.ssl_channel_credentials(self.authority.file.read_bytes(), *pair))


def certified(shop: Any, folder: Path, *more: str) -> tuple[list[str], Authority]:
    authority = Authority(folder)
    cert, key = authority.issue("server")
    return ["--tls-cert", str(cert), "--tls-key", str(key), "--grpc-port", "0", *more], authority


def test_with_tls_http_and_grpc_answer_and_plain_text_is_hung_up_on(shop: Any, tmp_path: Path) -> None:
    token = made_token(shop)
    words, authority = certified(shop, tmp_path)
    with shop.serve(*words) as server:
        tls = Tls(server, authority)
        assert "serving on https://127.0.0.1:" in server.said
        assert once(tls.connect(), token)[0] == 200
        assert once(tls.connect(), None)[0] == 401
        with tls.channel() as channel:
            assert Calls(channel).code("infer", ("authorization", f"Bearer {token}")) is grpc.StatusCode.OK
            assert Calls(channel).code("infer") is grpc.StatusCode.UNAUTHENTICATED
        with grpc.insecure_channel(server.grpc) as channel:
            assert Calls(channel).code("infer") is grpc.StatusCode.UNAVAILABLE
        with pytest.raises((OSError, http.client.HTTPException)):
            once(server.connect(), token)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(authority.file)
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port)) as raw:
            old.wrap_socket(raw, server_hostname="localhost")
        assert once(tls.connect(), token)[0] == 200


def test_a_client_certificate_is_its_user(shop: Any, tmp_path: Path) -> None:
    words, authority = certified(shop, tmp_path, "--tls-client-ca", str(tmp_path / "authority.pem"))
    authority.issue("ann")
    authority.issue("bob")
    stranger = Authority(tmp_path, "stranger")
    stranger.issue("ann", "not-ann")
    with shop.open() as workspace:
        workspace.catalog.users.add("ann", None, actor="root")
        workspace.catalog.grants.grant("ann", Role.VIEWER, actor="root")
    with shop.serve(*words) as server:
        tls = Tls(server, authority)
        assert once(tls.connect("ann"), None)[0] == 200
        assert once(tls.connect("ann"), None, "/streams/x")[0] == 403
        assert once(tls.connect("bob"), None)[0] == 401
        for name in (None, "not-ann"):
            with pytest.raises(OSError):
                once(tls.connect(name), None)
        with tls.channel("ann") as channel:
            assert Calls(channel).code("infer") is grpc.StatusCode.OK
            assert Calls(channel).code("push") is grpc.StatusCode.PERMISSION_DENIED
        with tls.channel("bob") as channel:
            assert Calls(channel).code("infer") is grpc.StatusCode.UNAUTHENTICATED
        for name in (None, "not-ann"):
            with tls.channel(name) as channel:
                assert Calls(channel).code("infer") is grpc.StatusCode.UNAVAILABLE
        with contextlib.closing(tls.connect("ann")) as connection:
            assert ask(connection, None)[0] == 200
            with shop.open() as workspace:
                workspace.catalog.users.disable("ann", actor="root")
            began = time.monotonic()
            while (status := ask(connection, None)[0]) == 200:
                assert time.monotonic() - began < WITHIN
                time.sleep(0.1)
            assert status == 401


def test_certificates_that_are_replaced_are_taken_and_broken_ones_are_not(shop: Any, tmp_path: Path) -> None:
    words, authority = certified(shop, tmp_path)
    first = (tmp_path / "server.pem").read_bytes()
    with shop.serve(*words) as server:
        tls = Tls(server, authority)

        def shown(port: int) -> bytes:
            with socket.create_connection(("127.0.0.1", port)) as raw, tls.context().wrap_socket(raw, server_hostname="localhost") as wrapped:
                found = wrapped.getpeercert(binary_form=True)
                assert found is not None
                return found

        def changes(from_: bytes, port: int) -> bytes:
            began = time.monotonic()
            while shown(port) == from_:
                assert time.monotonic() - began < 3 * LOOK_SECONDS
                time.sleep(0.2)
            return shown(port)

        was = shown(server.port)
        assert ssl.PEM_cert_to_DER_cert(first.decode()) == was
        (tmp_path / "server.key").write_text("broken")
        time.sleep(LOOK_SECONDS + 1)
        assert shown(server.port) == was
        authority.issue("server")
        now = ssl.PEM_cert_to_DER_cert((tmp_path / "server.pem").read_text())
        assert changes(was, server.port) == now
        grpc_port = int(server.grpc.rpartition(":")[2])
        context = tls.context()
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(("127.0.0.1", grpc_port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as wrapped:
            assert wrapped.getpeercert(binary_form=True) == now
        assert "warning: the certificates there were are kept" in server.stop()[1]


def test_other_machines_are_served_with_authentication_and_tls_only(shop: Any, tmp_path: Path) -> None:
    words, _ = certified(shop, tmp_path)
    toml = shop.root / "fivefold.toml"
    toml.write_text(toml.read_text() + '\n[env.wide]\nstate = ".fivefold"\nhosts = ["*"]\n')
    wide = ["serve", "--env", "wide", "--host", "0.0.0.0", "--port", "0"]
    found = shop.run(*wide, *words)
    assert found.returncode == 1
    assert "there is no user and no token" in found.stderr
    assert "fivefold users add NAME --role viewer" in found.stderr
    token = made_token(shop)
    found = shop.run(*wide)
    assert (found.returncode, "--insecure-http" in found.stderr) == (1, True)
    found = shop.run("serve", "--host", "0.0.0.0", "--port", "0", *words)
    assert (found.returncode, "hosts = [" in found.stderr) == (1, True)
    with shop.serve(*wide[1:5], "--insecure-http") as server:
        assert once(server.connect(), token)[0] == 200
        assert once(server.connect(), None)[0] == 401
        assert "warning: --insecure-http" in server.stop()[1]


def test_the_environment_may_require_authentication_on_this_machine_too(shop: Any) -> None:
    toml = shop.root / "fivefold.toml"
    toml.write_text(toml.read_text() + "\n[default]\nauth.required = true\n")
    found = shop.run("serve", "--port", "0")
    assert found.returncode == 1
    assert "the environment requires authentication" in found.stderr


def test_files_that_are_no_certificates_are_named(shop: Any, tmp_path: Path) -> None:
    words, authority = certified(shop, tmp_path)
    _, other = authority.issue("other")
    broken = tmp_path / "broken.pem"
    broken.write_text("x")
    cert, key = words[1], words[3]
    for given, message in ((["--tls-cert", cert], "--tls-cert and --tls-key are needed, both"),
                           (["--tls-cert", cert, "--tls-key", str(tmp_path / "none")], "No such file"),
                           (["--tls-cert", cert, "--tls-key", str(other)], "they do not fit"),
                           (["--tls-cert", str(broken), "--tls-key", key], "not PEM"),
                           (["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", str(broken)], "--tls-client-ca")):
        found = shop.run("serve", "--port", "0", *given)
        assert found.returncode == 1
        assert message in found.stderr
        assert "Traceback" not in found.stderr


def test_the_commands_from_nothing_to_a_closed_door(shop: Any) -> None:
    def fivefold(*words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fivefold.cli.main", *words, "--project", str(shop.root)]
        return subprocess.run(command, input=given, capture_output=True, text=True, env={**os.environ, "FIVEFOLD_ACTOR": "root"})

    password = "pass: w\u00f6rd of ann"
    made = fivefold("users", "add", "ann", "--role", "viewer", given=password + "\n")
    assert (made.returncode, made.stdout) == (0, "user ann added with the role viewer.\n")
    assert "12 characters" in fivefold("users", "add", "bob", given="short\n").stderr
    assert fivefold("users", "add", "bob", given="").returncode == 1
    assert fivefold("users", "add", "ann", given=password + "\n").returncode == 1
    assert "no role 'editr'" in fivefold("users", "add", "eve", "--role", "editr", given=password + "\n").stderr
    assert [u["name"] for u in json.loads(fivefold("users", "list", "--json").stdout)] == ["ann"]
    token = fivefold("tokens", "create", "ci", "--expires", "1d")
    assert token.stdout.startswith("ff_")
    assert "fivefold grant token:ci viewer" in token.stderr
    whole = json.loads(fivefold("tokens", "create", "ci", "--role", "editor", "--json").stdout)
    assert set(whole) == {"id", "name", "expires_at", "token"}
    assert fivefold("groups", "add", "team", "ann").stdout == "user:ann is in group:team.\n"
    assert fivefold("grant", "group:team", "operator").stdout == "group:team is operator.\n"
    access = json.loads(fivefold("access", "--json").stdout)
    assert access == [{"who": "token:ci", "role": "editor", "through": "token:ci", "let_in": True},
                      {"who": "user:ann", "role": "operator", "through": "group:team", "let_in": True}]
    with shop.serve() as server:
        assert once(server.connect(), token.stdout.strip())[0] == 200
    assert fivefold("tokens", "revoke", "ci").returncode == 0
    assert fivefold("revoke", "group:team").stdout == "group:team has no role of its own.\n"
    assert fivefold("users", "disable", "ann").stdout == "user ann is disabled.\n"
    assert {a["let_in"] for a in json.loads(fivefold("access", "--json").stdout)} == {False}
    everything = [fivefold(*w) for w in (("users", "list"), ("tokens", "list"), ("tokens", "list", "--json"), ("access",), ("groups", "list"),
                                         ("list", "audit", "--json"), ("users", "enable", "ann"), ("groups", "remove", "team", "ann"))]
    assert {e.returncode for e in everything} == {0}
    said = "".join(e.stdout + e.stderr for e in everything) + "".join(f.read_bytes().decode("latin-1") for f in (shop.root / ".fivefold").glob("catalog.db*"))
    for hidden in (password, token.stdout.strip()[16:], whole["token"][16:]):
        assert hidden not in said


def test_the_conformance_kit_asks_a_closed_server_with_a_token_from_a_file_or_the_environment(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fivefold.cli.main import app

    token = made_token(shop)
    file = tmp_path / "token.txt"
    with shop.serve("--grpc-port", "0") as server:
        words = ["conformance", f"http://127.0.0.1:{server.port}", "--model", "returned", "--grpc", server.grpc]
        assert CliRunner().invoke(app, words).exit_code == 1
        file.write_text(f"{token}\n")
        told = CliRunner().invoke(app, [*words, "--token-file", str(file)])
        assert told.exit_code == 0, told.output
        assert "0 failed" in told.output
        assert token not in told.output
        monkeypatch.setenv("FIVEFOLD_TOKEN", token)
        assert CliRunner().invoke(app, words[:4]).exit_code == 0
    file.write_text("two words")
    refused = CliRunner().invoke(app, [*words, "--token-file", str(file)])
    assert "does not hold a token alone" in str(refused.exception)
