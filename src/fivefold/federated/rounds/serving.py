"""The server of a project's federations as a process: its coordinators, two listeners, and a clockwork.

One listener is for enrolment: it shows a certificate and asks for none. The other asks for one in the handshake.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fivefold.catalog import Catalog
from fivefold.core.errors import Conflict
from fivefold.core.identity import identity_name
from fivefold.federated.identity import certificates
from fivefold.federated.identity.authority import Authority
from fivefold.federated.identity.invitation import Invitation, new_secret
from fivefold.federated.rounds.coordinator import SECOND, Coordinator, Rule
from fivefold.federated.rounds.desk import Desk
from fivefold.federated.rounds.manifest import Plan
from fivefold.federated.wire.grpc_line import GrpcListener
from fivefold.flow.steps import worker_name
from fivefold.ports.artifacts import ArtifactStore

TICK_SECONDS = 0.1
LEASE_SECONDS = 10.0
"""A coordinator that was killed is taken over when its lease is over, not at once: it might only be slow."""


class Address(NamedTuple):
    """Where to listen; port 0 takes any. `names` are the hosts by which clients will call, for the certificate."""

    host: str = "127.0.0.1"
    port: int = 0
    enrol_port: int = 0
    names: Sequence[str] = ("localhost", "127.0.0.1")


class FederationServer:
    """Serves federations, each a plan with its rule, until told to end. `folder` keeps the authority's key.

    While another process holds the federations' lease, the making of it waits. Raises Unavailable when a port is taken.
    """

    def __init__(
        self,
        catalog: Catalog,
        folder: Path,
        federations: Mapping[str, tuple[Plan, Rule]],
        *,
        models: ArtifactStore,
        uploads: ArtifactStore,
        address: Address = Address(),
        poll: float = 1.0,
        lease_seconds: float = LEASE_SECONDS,
        over: threading.Event | None = None,
    ) -> None:
        self._catalog, self._clock = catalog, catalog.database.clock
        self._over, self._owner, self._lease = over or threading.Event(), worker_name(), lease_seconds
        self._names, self._poll = sorted(federations), poll
        self._hold(wait=True)
        self._authority = open_authority(catalog, folder)
        self._hosts = list(address.names)
        keys = self._authority.server_keys(self._hosts, self._clock() / SECOND)
        self.coordinators = {
            name: Coordinator(
                plan,
                rule,
                rounds=catalog.rounds,
                members=self._active,
                models=models,
                uploads=uploads,
                sign=keys.sign,
                identify=self._identify,
                clock=self._clock,
                poll=poll,
            )
            for name, (plan, rule) in federations.items()
        }
        desk = Desk(catalog.members, self._authority, keys, self.coordinators, self._clock)
        self._mutual = GrpcListener(desk.answer, address.host, address.port, self._tls, self._authority.pem)
        self._enrol = GrpcListener(desk.enrol, address.host, address.enrol_port, self._tls, None)
        self.port, self.enrol_port = self._mutual.port, self._enrol.port

    def run(self, progress: Callable[[], object] = lambda: None) -> None:
        """Do what is due, again and again, until all federations are over and the sites know it, or it is told to end.

        Raises Conflict when another process has taken over.
        """
        renew_at = self._clock() + self._lease * SECOND / 3
        listened_until = self._clock() + 3 * self._poll * SECOND
        while not self._over.wait(TICK_SECONDS):
            if self._clock() >= renew_at:
                self._hold(wait=False)
                renew_at = self._clock() + self._lease * SECOND / 3
            for name, coordinator in self.coordinators.items():
                try:
                    coordinator.tick()
                except Exception as e:  # the edge: one federation may fail, the others go on
                    print(f"federation {name}:", file=sys.stderr)
                    traceback.print_exception(e, file=sys.stderr)
            progress()
            # who waits for another round would wait for ever
            if self._clock() >= listened_until and all(c.everybody_knows for c in self.coordinators.values()):
                return

    def close(self) -> None:
        """Stop listening, and let another process take over at once."""
        self._mutual.close()
        self._enrol.close()
        for name in self._names:
            self._catalog.leases.release(f"federation/{name}", self._owner)

    def _hold(self, wait: bool) -> None:
        for name in self._names:
            while self._catalog.leases.acquire(f"federation/{name}", self._owner, int(self._lease * SECOND)) is None:
                if not wait:
                    raise Conflict(f"another process has taken the federation {name!r} over.", hint="Stop this one.")
                if self._over.wait(TICK_SECONDS):
                    raise Conflict(f"the federation {name!r} is served by another process.")

    def _tls(self) -> bytes:
        found = self._authority.server_keys(self._hosts, self._clock() / SECOND).tls
        assert found is not None
        return found

    def _active(self) -> list[str]:
        return [member.client for member in self._catalog.members.all() if member.revoked_at is None]

    def _identify(self, name: str, der: bytes, now: float) -> bytes:
        return certificates.client_key(self._authority.certificate, name, der, now)


def open_authority(catalog: Catalog, folder: Path) -> Authority:
    """The authority of a project, in a folder that only its owner may read; made when there is none."""
    return Authority(folder, catalog.project, catalog.database.clock() / SECOND)


def invite(
    catalog: Catalog, authority: Authority, client: str, *, server: str, enrol: str, hours: float, actor: str
) -> Invitation:
    """An invitation for a site, good once and for so many hours; `server` and `enrol` are addresses (host:port)."""
    token, id, digest = new_secret()
    expires_at = catalog.database.clock() + int(hours * 3600 * SECOND)
    client = identity_name(client, "client")
    catalog.members.invite(client, id, digest, expires_at=expires_at, actor=actor)
    return Invitation(client, enrol, server, authority.pem.decode(), token)
