"""A site joins a federation with the rows of its own project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fivefold.backends import connect
from fivefold.core.federation import Federation
from fivefold.core.types import Schema
from fivefold.federated.course.definition import course_of, definitions
from fivefold.federated.course.rows import SiteRows, site_rows
from fivefold.federated.course.site import SiteWork, floors
from fivefold.federated.identity.keys import Keys
from fivefold.federated.privacy.ledger import pay
from fivefold.federated.rounds.enrolment import Site
from fivefold.federated.rounds.participant import Participant
from fivefold.federated.rounds.policy import Policy
from fivefold.federated.wire.grpc_line import GrpcLine
from fivefold.ports.artifacts import ArtifactStore
from fivefold.workspace import Workspace

_STORE: Any = ArtifactStore


def join(
    workspace: Workspace,
    federation: Federation,
    schemas: Mapping[str, Schema],
    task: str,
    *,
    folder: Path,
    site: Site,
    policy: Policy,
    address: str = "",
    say: Callable[[str], None] = lambda text: None,
    prepare: Callable[[SiteRows], None] = lambda rows: None,
) -> Participant:
    """The part of an enrolled site, whose keys are in a folder; it pays for what it tells in the workspace's ledger.

    `address` is where the server is now, if it has moved; `prepare` may look at the rows before they are used. The
    rows are read here, before any round waits for them.
    """
    digest = definitions(workspace, federation)
    rows = site_rows(workspace, federation, course_of(federation, schemas, 1), schemas, site.client)
    prepare(rows)
    say(f"{len(rows.y):,} rows to train on, {len(rows.y_test):,} for the test.")
    keys = Keys(folder, site.client)
    work = SiteWork(
        lambda sites: course_of(federation, schemas, sites),
        lambda course: rows,
        digest,
        pay=None
        if federation.dp is None
        else lambda key, what, curve: pay(workspace.catalog.releases, federation, f"{task}/{key}", what, curve),
    )
    return Participant(
        task,
        work,
        floors(federation, digest, policy),
        keys=keys,
        site=site,
        connect=lambda: GrpcLine(address or site.server, site.authority.encode(), keys.tls),
        store=connect(_STORE, f"files:{folder}/models/{quote(task, safe='')}"),
        folder=folder,
        say=say,
        tell=work.tell,
    )
