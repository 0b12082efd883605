"""Opening a catalog: the migrated database of one project, behind narrow faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

from fivefold.catalog.aliases import Aliases
from fivefold.catalog.audit import Audit
from fivefold.catalog.bounds import name
from fivefold.catalog.database import Database, connect, now
from fivefold.catalog.definitions import Definitions
from fivefold.catalog.federated_members import Members
from fivefold.catalog.federated_rounds import Rounds
from fivefold.catalog.grants import Grants
from fivefold.catalog.journal import Journal
from fivefold.catalog.leases import Leases
from fivefold.catalog.lineage import Lineage
from fivefold.catalog.migrate import migrate
from fivefold.catalog.releases import Releases
from fivefold.catalog.run_search import RunSearch
from fivefold.catalog.runs import Runs
from fivefold.catalog.service_tokens import Tokens
from fivefold.catalog.snapshots import Snapshots
from fivefold.catalog.users import Users
from fivefold.catalog.versions import Versions
from fivefold.core.errors import Unavailable


@dataclass(frozen=True)
class Catalog:
    """What one project remembers: its definitions, what was tracked, and the journal of its durable steps.

    Definitions: `definitions`, `snapshots`. Tracking: `runs`, `search`, `versions`, `aliases`, `lineage`, `audit`.
    Work: `journal`, `leases`. Identity: `users`, `tokens`, `grants`. Federations: `members`, `rounds`,
    `releases`. Every method is one short transaction; safe to share between threads, not to inherit by fork.
    """

    project: str
    definitions: Definitions
    snapshots: Snapshots
    runs: Runs
    search: RunSearch
    versions: Versions
    aliases: Aliases
    lineage: Lineage
    audit: Audit
    journal: Journal
    leases: Leases
    users: Users
    tokens: Tokens
    grants: Grants
    members: Members
    rounds: Rounds
    releases: Releases
    database: Database

    def close(self) -> None:
        """Gives the connections back; closing twice is fine."""
        self.database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_catalog(url: str, project: str, *, clock: Callable[[], int] = now) -> Catalog:
    """The catalog of `project` in the database at `url`, brought to this version's schema first.

    `url` is `sqlite:///path/catalog.db` (made when missing) or `postgresql://user@host/name`; `clock` gives
    microseconds since 1970 UTC. Raises Invalid for another URL or project name, Unavailable when the database does not
    answer, Unsupported when a newer fivefold wrote it.
    """
    database = Database(connect(url), name(project, "project"), clock)
    try:
        _make_folder(database.engine)
        migrate(database)
    except BaseException:
        database.close()
        raise
    return Catalog(
        project,
        Definitions(database),
        Snapshots(database),
        Runs(database),
        RunSearch(database),
        Versions(database),
        Aliases(database),
        Lineage(database),
        Audit(database),
        Journal(database),
        Leases(database),
        Users(database),
        Tokens(database),
        Grants(database),
        Members(database),
        Rounds(database),
        Releases(database),
        database,
    )


def _make_folder(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite" and engine.url.database:
        folder = Path(engine.url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as wrong:
            raise Unavailable(f"the folder {folder} of the catalog cannot be made: {wrong.strerror}.") from wrong
