"""A workspace: a project, one environment's stores, a clock and who is acting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from fivefold.backends import connect
from fivefold.catalog import Catalog, open_catalog
from fivefold.core.config import Environment, environment
from fivefold.core.errors import NotFound
from fivefold.core.identity import Principal
from fivefold.core.project import Project
from fivefold.core.sources import Stream, Table, View
from fivefold.data import duck
from fivefold.data.ingest import Places
from fivefold.data.snapshots import Snapshot
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.online import OnlineStore
from fivefold.ports.streams import Broker
from fivefold.ports.tables import TableReader
from fivefold.workspace.project_file import find_root, load_project, read_settings

Clock = Callable[[], int]

_ARTIFACTS: Any = ArtifactStore


def wall_clock() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Workspace(msgspec.Struct, frozen=True, eq=False):
    """Everything that work on a project needs, passed in one hand."""

    root: Path
    project: Project
    env: Environment
    catalog: Catalog
    artifacts: ArtifactStore
    actor: str
    clock: Clock

    @property
    def state(self) -> Path:
        """The environment's folder for tables, logs and scratch space."""
        return self.root / self.env.state

    @property
    def places(self) -> Places:
        return Places(self.state / "tables", self.state / "scratch")

    def acting(self, principal: Principal) -> Workspace:
        """The same workspace in the hands of somebody else, whose name stands beside the changes."""
        return msgspec.structs.replace(self, actor=str(principal))

    @contextmanager
    def database(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB connection within the environment's memory and threads."""
        with duck.connect(self.places.scratch, memory=self.env.memory, threads=self.env.threads) as connection:
            yield connection

    def reader(self, table: Table) -> TableReader:
        """The reader of a table, at the place the environment puts it."""
        url = self.env.tables.get(table.name, table.url)
        found: TableReader = self.connect(TableReader, url, root=str(self.root))
        return found

    def connect(self, port: Any, url: str, **more: Any) -> Any:
        """A store by URL, with the environment's options for its scheme."""
        scheme = url.partition(":")[0] if ":" in url else "files"
        return connect(port, url if ":" in url else f"files:{url}", **self.env.options.get(scheme, {}), **more)

    def online(self) -> OnlineStore:
        """The online store, opened; the caller closes it."""
        store: OnlineStore = self.connect(OnlineStore, _below(self.root, self.env.online))
        return store

    def broker(self, stream: Stream) -> Broker:
        """The topic of a stream, opened; the caller closes it."""
        url = self.env.streams.get(stream.name, self.env.stream)
        opened: Broker = self.connect(Broker, _below(self.root, url), topic=stream.name)
        return opened

    def snapshot(self, source: str) -> Snapshot:
        """What was last taken in of a table or view. Raises NotFound for another name, and before the first `apply`."""
        found = self.find_snapshot(source)
        names = [n.name for n in self.project.of(Table.kind, View.kind)]
        if found is None and source not in names:
            raise NotFound.named("table or view", source, names)
        if found is None:
            raise NotFound(f"nothing has been read of {source!r} yet.", hint="Run `fivefold apply` first.")
        return found

    def scales(self) -> dict[str, dict[str, int]]:
        """By source name and column, the fixed-point scale that was pinned when the source was applied."""
        found: dict[str, dict[str, int]] = {}
        for (kind, name), applied in self.catalog.definitions.applied().items():
            scales = applied.pinned.get("scales")
            if kind in (Table.kind, View.kind) and isinstance(scales, Mapping):
                found[name] = {c: int(str(s)) for c, s in scales.items()}
        return found

    def find_snapshot(self, source: str) -> Snapshot | None:
        """What was last taken in of a table or view, if anything."""
        kept = self.catalog.snapshots.latest(source)
        return msgspec.convert(kept.parts, Snapshot) if kept else None


@contextmanager
def open_workspace(
    start: Path,
    *,
    env: str = "dev",
    actor: str = "local",
    secrets: Mapping[str, str] | None = None,
    clock: Clock = wall_clock,
) -> Iterator[Workspace]:
    """Open the project at or above a folder in one environment.

    `secrets` holds what `env:NAME` in fivefold.toml stands for (the command line passes its environment). Raises what
    loading the project raises, and Unavailable when a store does not answer.
    """
    root = find_root(start)
    given = read_settings(root)
    chosen = environment(given, env, secrets or {}, str(root / "fivefold.toml"))
    project = load_project(root, given)
    state = root / chosen.state
    state.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        catalog = stack.enter_context(open_catalog(_below(root, chosen.catalog), project.name, clock=clock))
        scheme = chosen.artifacts.partition(":")[0]
        artifacts: ArtifactStore = connect(_ARTIFACTS, _below(root, chosen.artifacts), **chosen.options.get(scheme, {}))
        yield Workspace(root, project, chosen, catalog, artifacts, actor, clock)


def _below(root: Path, url: str) -> str:
    """A store URL with a relative path made absolute below the project."""
    for scheme in ("sqlite:///", "files:", "lmdb:", "log:"):
        if url.startswith(scheme):
            return scheme + str(root / url.removeprefix(scheme))
    return url
