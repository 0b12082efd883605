"""A federation in one process, over lines in memory: the coordinator, the desk and the sites are those of a network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fivefold.backends import connect
from fivefold.catalog import Catalog, open_catalog
from fivefold.core.federation import Federation
from fivefold.core.types import Schema
from fivefold.federated.course.definition import course_of
from fivefold.federated.course.hosting import Ended, Event, Hosted, conclude, events, host
from fivefold.federated.course.progress import read_progress
from fivefold.federated.course.rows import SiteRows, rows_by_site
from fivefold.federated.course.site import SiteWork, floors
from fivefold.federated.identity import certificates
from fivefold.federated.identity.authority import Authority
from fivefold.federated.identity.keys import Keys
from fivefold.federated.rounds.coordinator import SECOND, Coordinator
from fivefold.federated.rounds.desk import Desk
from fivefold.federated.rounds.enrolment import enrol
from fivefold.federated.rounds.manifest import MODES
from fivefold.federated.rounds.participant import Participant
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.rounds.serving import invite
from fivefold.federated.wire.line import MemoryLine, Peer
from fivefold.ports.artifacts import ArtifactStore
from fivefold.workspace import Workspace

_STORE: Any = ArtifactStore


def simulate(
    workspace: Workspace,
    federation: Federation,
    schemas: Mapping[str, Schema],
    task: str,
    *,
    release: bool = False,
    told: Callable[[Event], object] = lambda event: None,
) -> Ended:
    """Train a federation on the workspace's own rows, divided by its column `split`, and register the version.

    Nothing leaves the process, so nothing is paid for: promises are kept against a ledger that is thrown away. Raises
    Invalid for fewer sites than were declared, and when the rounds come to nothing.
    """
    rows = rows_by_site(workspace, federation, course_of(federation, schemas, 1), schemas)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_catalog(f"sqlite:///{folder}/catalog.db", workspace.project.name) as catalog:
            hosted = host(workspace, federation, schemas, task, releases=catalog.releases, sites=len(rows))
            models = connect(_STORE, f"files:{folder}/models")
            server = _Server(folder, catalog, hosted, models)
            sites = [server.site(folder / f"site{i}", site, schemas) for i, site in enumerate(rows.values())]
            try:
                seen = 0
                while not server.coordinator.over:
                    for site in sites:
                        site.turn()
                    for event in events(catalog.rounds, models, task, hosted.course, seen):
                        seen = event.round
                        told(event)
            finally:
                for site in sites:
                    site.close()
            state = read_progress(server.coordinator.state)
            return conclude(workspace, hosted.course, catalog.rounds, task, state, schemas, release=release,
                            simulated=True)  # fmt: skip


class _Server:
    """The server's side, and what sites call it by."""

    def __init__(self, folder: Path, catalog: Catalog, hosted: Hosted, models: ArtifactStore) -> None:
        self._catalog, self._clock, self._hosted = catalog, catalog.database.clock, hosted
        self._authority = Authority(folder / "authority", catalog.project, self._clock() / SECOND)
        keys = self._authority.server_keys(["localhost"], self._clock() / SECOND)
        self.coordinator = Coordinator(
            hosted.plan,
            hosted.rule,
            rounds=catalog.rounds,
            members=lambda: [member.client for member in catalog.members.all()],
            models=models,
            uploads=connect(_STORE, f"files:{folder}/uploads"),
            sign=keys.sign,
            identify=partial(certificates.client_key, self._authority.certificate),
            clock=self._clock,
            poll=0.0,
        )
        task = hosted.plan.task
        self._desk = Desk(catalog.members, self._authority, keys, {task: self.coordinator}, self._clock)

    def site(self, folder: Path, rows: SiteRows, schemas: Mapping[str, Schema]) -> Participant:
        """A site that has enrolled."""
        client = f"site-{rows.number}"
        invitation = invite(self._catalog, self._authority, client, server="", enrol="", hours=1, actor="simulation")
        known = enrol(folder, invitation, lambda address, authority: MemoryLine(self._desk.enrol, Peer("", "")))
        keys, federation, plan = Keys(folder, client), self._hosted.course.federation, self._hosted.plan
        rows.name = client

        def line() -> MemoryLine:
            assert keys.certificate is not None
            return MemoryLine(self._desk.answer, Peer(client, certificates.said(keys.certificate).serial))

        return Participant(
            plan.task,
            SiteWork(lambda sites: course_of(federation, schemas, sites), lambda course: rows, plan.definitions),
            floors(federation, plan.definitions, Policy(modes=MODES, min_clients=2, min_survivors=2)),
            keys=keys,
            site=known,
            connect=line,
            store=connect(_STORE, f"files:{folder}/models"),
            folder=folder,
        )
