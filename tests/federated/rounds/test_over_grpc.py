"""The same over gRPC with certificates on both sides: real sockets on loopback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_federation import Adding, counted, expected, plan

from fivefold.backends import connect
from fivefold.catalog import Catalog, open_catalog
from fivefold.core.errors import Conflict, Unavailable
from fivefold.core.identity import Unauthenticated
from fivefold.federated.identity.keys import Keys
from fivefold.federated.refusals import Refused
from fivefold.federated.rounds import bodies
from fivefold.federated.rounds.enrolment import enrol, read_site
from fivefold.federated.rounds.participant import Participant
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.rounds.serving import FederationServer, invite, open_authority
from fivefold.federated.wire import envelope
from fivefold.federated.wire.grpc_line import GrpcLine
from fivefold.ports.artifacts import ArtifactStore

NAMES = ["ada", "bob", "cyd", "dee"]


class Running:
    """A server on loopback, in a thread."""

    def __init__(self, folder: Path, catalog: Catalog) -> None:
        self.folder, self.catalog, self.over = folder, catalog, threading.Event()
        stores = (connect(ArtifactStore, f"files:{folder}/{name}") for name in ("models", "uploads"))
        self.server = FederationServer(catalog, folder / "authority", {"counts": (plan(seconds=60), Adding())},
                                       **dict(zip(("models", "uploads"), stores, strict=True)), poll=0.05, over=self.over)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def invitation(self, client: str) -> Any:
        return invite(self.catalog, open_authority(self.catalog, self.folder / "authority"), client, hours=1, actor="ann",
                      server=f"localhost:{self.server.port}", enrol=f"localhost:{self.server.enrol_port}")

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
        self.server.close()


@pytest.fixture
def running(tmp_path: Path, sqlite_url: str) -> Iterator[Running]:
    with open_catalog(sqlite_url, "shop") as catalog:
        made = Running(tmp_path / "server", catalog)
        yield made
        made.stop()


def part(folder: Path, name: str) -> Participant:
    site, keys = read_site(folder), Keys(folder, name)
    return Participant("counts", lambda m, _: counted(name, m.round, m.length), Policy(), keys=keys, site=site, folder=folder,
                       connect=lambda: GrpcLine(site.server, site.authority.encode(), keys.tls), store=connect(ArtifactStore, f"files:{folder}/models"))


def test_four_sites_enrol_and_add_up_over_mutual_tls(running: Running, tmp_path: Path) -> None:
    for name in NAMES:
        enrol(tmp_path / name, running.invitation(name), GrpcLine)
    parts = [part(tmp_path / name, name) for name in NAMES]
    threads = [threading.Thread(target=p.run, args=(running.over,)) for p in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for p in parts:
        p.close()
    assert running.server.coordinators["counts"].over
    assert running.server.coordinators["counts"].state["total"].tolist() == expected(NAMES, [1, 2])


def test_who_has_no_certificate_or_anothers_is_not_let_in(running: Running, tmp_path: Path) -> None:
    site = enrol(tmp_path / "ada", running.invitation("ada"), GrpcLine)
    enrol(tmp_path / "bob", running.invitation("bob"), GrpcLine)
    authority = site.authority.encode()

    def called(line: GrpcLine, request: bytes) -> bytes:
        try:
            return line.call(request)
        finally:
            line.close()

    with pytest.raises(Unavailable, match="did not answer"):
        called(GrpcLine(site.server, authority, None, seconds=5), b"")
    # of another authority
    with open_catalog(f"sqlite:///{tmp_path}/other.db", "shop") as catalog:
        stranger = open_authority(catalog, tmp_path / "other")
        keys = Keys(tmp_path / "stranger", "ada")
        keys.install(stranger.issue(keys.request(), "ada", catalog.database.clock() / 1e6))
    with pytest.raises(Unavailable):
        called(GrpcLine(site.server, authority, keys.tls, seconds=5), b"")
    # and a server of another authority is not talked to
    with pytest.raises(Unavailable):
        called(GrpcLine(site.server, stranger.pem, keys.tls, seconds=5), b"")
    ada, bob = Keys(tmp_path / "ada", "ada"), Keys(tmp_path / "bob", "bob")
    # bob in the name of ada, with his own signature and with hers replayed
    for sealed in (envelope.seal(bob.sign, bodies.NEXT, "ada", task="counts"), envelope.seal(ada.sign, bodies.NEXT, "ada", task="counts")):
        with pytest.raises(Unavailable, match="'bob' speaks in the name of 'ada'"):
            called(GrpcLine(site.server, authority, bob.tls), envelope.write(sealed))
    # ada's certificate without her key for messages
    forged = envelope.seal(bob.sign, bodies.NEXT, "ada", task="counts")
    reply = envelope.read(called(GrpcLine(site.server, authority, ada.tls), envelope.write(forged)))
    failure = bodies.decode(reply.body, bodies.Answered).failure
    assert failure is not None
    assert isinstance(failure.error(), Refused)
    assert "not signed by it" in failure.message


def test_an_invitation_is_good_once_and_cut_short_goes_on(running: Running, tmp_path: Path) -> None:
    invitation = running.invitation("ada")
    enrol(tmp_path / "ada", invitation, GrpcLine)
    with pytest.raises(Conflict, match="used by another request"):
        enrol(tmp_path / "mallory", invitation, GrpcLine)
    # what came back was lost: the keys are there, the certificate is not
    second = running.invitation("bob")
    keys = Keys(tmp_path / "bob", "bob")
    line = GrpcLine(second.enrol, second.authority.encode())
    line.call(bodies.encode(bodies.Enrol(second.token, keys.request())))
    line.close()
    enrol(tmp_path / "bob", second, GrpcLine)
    with pytest.raises(Unauthenticated, match="not accepted"):
        enrol(tmp_path / "cyd", type(second)("cyd", second.enrol, second.server, second.authority, second.token[:-3] + "abc"), GrpcLine)


def test_only_one_process_serves_a_federation(running: Running) -> None:
    over = threading.Event()
    over.set()
    with pytest.raises(Conflict, match="served by another process"):
        FederationServer(running.catalog, running.folder / "authority", {"counts": (plan(), Adding())}, models=None, uploads=None, over=over)  # type: ignore[arg-type]
