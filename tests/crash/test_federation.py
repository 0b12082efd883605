"""A federation's server, a real process, that kills itself with -9 while its sites go on calling."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from dying import DYING
from small_federation import counted

from fivefold.backends import connect
from fivefold.catalog import open_catalog
from fivefold.federated.identity.keys import Keys
from fivefold.federated.rounds.coordinator import read_reference
from fivefold.federated.rounds.enrolment import enrol
from fivefold.federated.rounds.participant import Participant
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.rounds.serving import invite, open_authority
from fivefold.federated.wire import arrays, parcels
from fivefold.federated.wire.grpc_line import GrpcLine
from fivefold.ports.artifacts import ArtifactStore

# argv: how many writes before dying (0: never), the catalog, a folder, two ports
SERVER = DYING + """
from pathlib import Path
from small_federation import Adding, plan
from fivefold.backends import connect
from fivefold.catalog import open_catalog
from fivefold.catalog.federated_rounds import Rounds
from fivefold.federated.rounds import coordinator
from fivefold.federated.rounds.serving import Address, FederationServer
from fivefold.ports.artifacts import ArtifactStore

last, url, folder, ports = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), [int(p) for p in sys.argv[4:]]

for name in ("open", "take", "end_step", "finish", "abort"):
    watched(Rounds, name)
watched(coordinator.parcels, "put")
watched(coordinator, "put_blob")
stores = {name: connect(ArtifactStore, f"files:{folder}/{name}") for name in ("models", "uploads")}
with open_catalog(url, "shop") as catalog:
    server = FederationServer(catalog, folder / "authority", {"counts": (plan(seconds=120, length=400_000), Adding())},
                              address=Address("127.0.0.1", *ports), poll=0.1, lease_seconds=0.5, **stores)
    print(server.port, server.enrol_port, flush=True)
    server.run()
    server.close()
"""
NAMES = ["ada", "bob", "cyd", "dee"]


class Server:
    """The process, and how often it died."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.ports, self.deaths = url, folder, ["0", "0"], 0

    def start(self, dies_at: int) -> None:
        command = [sys.executable, "-c", SERVER, str(dies_at), self.url, str(self.folder), *self.ports]
        path = {"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin", "GRPC_VERBOSITY": "NONE"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=path)
        assert self.process.stdout is not None
        found = self.process.stdout.readline().split()
        if found:
            self.ports = found

    def through(self, first: int, stride: int) -> None:
        """Until it ends by itself; it dies at the first write named, and then again and again."""
        self.start(first)
        while True:
            assert self.process.stdout is not None
            self.process.stdout.close()
            code = self.process.wait(120)
            if code == 0:
                return
            assert code == -9
            self.deaths += 1
            self.start(stride)


def killed(tmp_path: Path, url: str, first: int, stride: int) -> int:
    server, over = Server(url, tmp_path / "server"), threading.Event()
    server.start(0)
    parts = []
    store: Any = ArtifactStore
    with open_catalog(url, "shop") as catalog:
        authority = open_authority(catalog, tmp_path / "server" / "authority")
        for name in NAMES:
            invitation = invite(catalog, authority, name, hours=1, actor="ann", server=f"localhost:{server.ports[0]}", enrol=f"localhost:{server.ports[1]}")
            site, folder = enrol(tmp_path / name, invitation, GrpcLine), tmp_path / name
            keys = Keys(folder, name)
            parts.append(Participant(
                "counts", lambda m, _, name=name: counted(name, m.round, m.length), Policy(), keys=keys, site=site, folder=folder,
                connect=lambda site=site, keys=keys: GrpcLine(site.server, site.authority.encode(), keys.tls, seconds=10), store=connect(store, f"files:{folder}/models")))
    server.process.kill()
    server.process.wait()
    assert server.process.stdout is not None
    server.process.stdout.close()
    threads = [threading.Thread(target=p.run, args=(over,)) for p in parts]
    try:
        for thread in threads:
            thread.start()
        server.through(first, stride)
    finally:
        server.process.kill()
        server.process.wait()
        over.set()
        for thread in threads:
            thread.join(60)
        for p in parts:
            p.close()
    with open_catalog(url, "shop") as catalog:
        second, one = catalog.rounds.all("counts")
        kept = connect(store, f"files:{tmp_path}/server/models")
        total = arrays.decode(parcels.get(kept, read_reference(second.after)))["total"].tolist()
    assert (one.survivors, second.survivors) == ([NAMES], [NAMES])
    assert total == [int(sum(counted(n, r, 400_000)[i] for n in NAMES for r in (1, 2))) for i in range(6)]
    return server.deaths


def test_killed_a_few_times_the_sums_are_those_of_all(tmp_path: Path, sqlite_url: str) -> None:
    assert killed(tmp_path, sqlite_url, 9, 37) >= 3


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", range(1, 14, 2))
def test_killed_every_few_writes_the_sums_are_those_of_all(tmp_path: Path, catalog_url: str, first: int) -> None:
    assert killed(tmp_path, catalog_url, first, 17) >= 6
