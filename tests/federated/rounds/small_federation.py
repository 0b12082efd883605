"""A federation of sites in one process, over lines in memory, that adds up what its sites count."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.backends import connect
from fivefold.catalog import Catalog, open_catalog
from fivefold.federated.identity import certificates
from fivefold.federated.identity.authority import Authority
from fivefold.federated.identity.invitation import Invitation, new_secret
from fivefold.federated.rounds.coordinator import Coordinator
from fivefold.federated.rounds.desk import Desk
from fivefold.federated.rounds.enrolment import enrol
from fivefold.federated.rounds.gathering import Part
from fivefold.federated.rounds.manifest import Manifest, Plan
from fivefold.federated.rounds.participant import Participant
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.wire.line import MemoryLine, Peer
from fivefold.ports.artifacts import ArtifactStore

SECOND = 1_000_000
LENGTH = 6


class Adding:
    """The state is the total of all sums, and how many vectors are in it."""

    def begin(self) -> dict[str, Any]:
        return {"total": np.zeros(LENGTH, np.uint64), "clients": np.zeros(1, np.int64)}

    def broadcast(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"total": state["total"]}

    def step(self, parts: Sequence[Part], state: Mapping[str, Any]) -> Mapping[str, Any]:
        total = state["total"] + sum(p.vector[:LENGTH] for p in parts)
        return {"total": total, "clients": state["clients"] + sum(len(p.clients) for p in parts)}

    def asks(self, state: Mapping[str, Any]) -> None:
        return None

    def release(self, state: Mapping[str, Any], round: int) -> None:
        pass

    def done(self, state: Mapping[str, Any]) -> bool:
        return False

    def epsilon(self, rounds: int) -> float | None:
        return 0.1 * rounds


def counted(name: str, round: int, length: int = LENGTH) -> np.ndarray[Any, Any]:
    """What a site counts in a round."""
    seed = int.from_bytes(hashlib.sha256(f"{name} {round}".encode()).digest()[:8])
    return np.random.default_rng(seed).integers(0, 2**16, length, np.uint64)


def expected(names: Collection[str], rounds: Collection[int]) -> list[int]:
    return [sum(int(counted(n, r)[i]) for n in names for r in rounds) for i in range(LENGTH)]


class Clock:
    def __init__(self) -> None:
        import time
        self.now = int(time.time()) * SECOND

    def __call__(self) -> int:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


def plan(**other: Any) -> Plan:
    return Plan(**{"task": "counts", "rounds": 2, "length": LENGTH, "bits": 16, "cohort": 4, "quorum": 4, "min_survivors": 3, **other})


class Server:
    """A server in this process; `restart` forgets all but the catalog and the files."""

    def __init__(self, folder: Path, url: str, clock: Clock, *plans: Plan, rule: Any = None) -> None:
        self.folder, self.url, self.clock, self.plans, self.rule = folder, url, clock, plans, rule or Adding()
        self.start()

    def start(self) -> None:
        self.catalog: Catalog = open_catalog(self.url, "shop", clock=self.clock)
        self.authority = Authority(self.folder / "authority", "shop", self.clock() / SECOND)
        keys = self.authority.server_keys(["localhost"], self.clock() / SECOND)
        self.uploads = connect(ArtifactStore, f"files:{self.folder}/uploads")
        self.models = connect(ArtifactStore, f"files:{self.folder}/models")
        self.coordinators = {p.task: Coordinator(
            p, self.rule, rounds=self.catalog.rounds, members=lambda: [m.client for m in self.catalog.members.all() if m.revoked_at is None],
            models=self.models, uploads=self.uploads, sign=keys.sign, identify=self.identify, clock=self.clock,
            random=random.Random(1)) for p in self.plans}
        self.desk = Desk(self.catalog.members, self.authority, keys, self.coordinators, self.clock)

    def restart(self) -> None:
        self.catalog.close()
        self.start()

    def identify(self, name: str, der: bytes, now: float) -> bytes:
        return certificates.client_key(self.authority.certificate, name, der, now)

    def invite(self, client: str, hours: float = 1) -> Invitation:
        token, id, digest = new_secret()
        self.catalog.members.invite(client, id, digest, expires_at=self.clock() + int(hours * 3600 * SECOND), actor="ann")
        return Invitation(client, "enrol:1", "server:2", self.authority.pem.decode(), token)


class Site:
    """A site: its folder, and its part in a federation while it runs."""

    def __init__(self, server: Server, folder: Path, name: str, task: str = "counts", **policy: Any) -> None:
        self.server, self.folder, self.name, self.task = server, folder / name, name, task
        self.policy = Policy(**policy)
        self.said: list[str] = []
        self.worked: list[int] = []
        # to raise in the one cuts the line before the server hears anything, in the other before its reply comes back
        self.cut: Callable[[bytes], None] = lambda request: None
        self.lose: Callable[[bytes], None] = lambda request: None
        self.site = enrol(self.folder, server.invite(name), lambda address, authority: MemoryLine(lambda p, r: server.desk.enrol(p, r), Peer("", "")), server.clock() / SECOND)
        self.start()

    def start(self, work: Any = None) -> None:
        """Begin anew, with nothing but what is on disk."""
        from fivefold.federated.identity.keys import Keys

        self.keys = Keys(self.folder, self.name)
        self.part = Participant(
            self.task, work or self.work, self.policy, keys=self.keys, site=self.site, connect=self.connect,
            store=connect(ArtifactStore, f"files:{self.folder}/models"), folder=self.folder,
            clock=lambda: self.server.clock() / SECOND, say=self.said.append)

    def connect(self) -> MemoryLine:
        certificate = self.keys.certificate
        assert certificate is not None

        def answer(peer: Peer, request: bytes) -> bytes:
            self.cut(request)
            reply = self.server.desk.answer(peer, request)
            self.lose(request)
            return reply

        return MemoryLine(answer, Peer(self.name, certificates.said(certificate).serial))

    def work(self, manifest: Manifest, model: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        self.worked.append(manifest.round)
        return counted(self.name, manifest.round, manifest.length)


def turn(sites: Collection[Site], times: int = 1) -> None:
    for _ in range(times):
        for site in sites:
            site.part.turn()
