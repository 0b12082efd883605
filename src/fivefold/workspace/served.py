"""A version as it is used: its verified package, and the declarations, schemas and scales it was trained under."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fivefold.catalog.versions import Version
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.features import FeatureView, Udf
from fivefold.core.learning import Model
from fivefold.core.project import Project
from fivefold.core.revive import revive
from fivefold.core.sources import rows_of
from fivefold.core.types import Schema, Type
from fivefold.models.package import LoadedModel, load
from fivefold.ports.trees import fetch_tree
from fivefold.workspace.applied import require_applied
from fivefold.workspace.workspace import Workspace

CHAMPION = "champion"


class Meaning(msgspec.Struct, frozen=True):
    """What a version was trained under, without its package and its code: enough to make its features' values."""

    project: Project
    schemas: Mapping[str, Schema]
    scales: Mapping[str, Mapping[str, int]]

    @property
    def views(self) -> list[FeatureView]:
        """The feature views whose values it reads."""
        return [v for v in self.project.of(FeatureView.kind) if isinstance(v, FeatureView)]

    def online_name(self, view: FeatureView) -> str:
        """The name under which a view's values lie in the online store: a changed meaning is another view."""
        return online_name(self.project, view)


class Served(msgspec.Struct, frozen=True):
    """A version ready to use. `model` is its own declaration, which the project file may have left behind."""

    version: Version
    model: Model
    meaning: Meaning
    loaded: LoadedModel

    @property
    def schemas(self) -> Mapping[str, Schema]:
        return self.meaning.schemas

    @property
    def scales(self) -> Mapping[str, Mapping[str, int]]:
        return self.meaning.scales

    @property
    def views(self) -> list[FeatureView]:
        """The feature views whose values it reads, once each."""
        return self.meaning.views

    def online_name(self, view: FeatureView) -> str:
        """The name under which a view's values lie in the online store."""
        return self.meaning.online_name(view)


def online_name(project: Project, view: FeatureView) -> str:
    """`name@digest`: values made under one meaning of a view."""
    return f"{view.name}@{project.closure_digests[view.ref][:16]}"


def champion(workspace: Workspace, model: str) -> Served:
    """The champion of a model. Raises NotFound when there is none yet."""
    number = workspace.catalog.aliases.current(model, CHAMPION)
    if number is None:
        raise NotFound(
            f"the model {model!r} has no champion yet.",
            hint=f"Run `fivefold train {model}`, or `fivefold promote {model}`.",
        )
    return served(workspace, workspace.catalog.versions.get(model, number))


def served(workspace: Workspace, version: Version) -> Served:
    """A version ready to use; its package is fetched once, verified every time, and fetched anew if it is damaged here.

    Raises Invalid for a corrupt package, Unsupported for a pickle that the model does not trust, or for changed code.
    """
    info: Any = version.info
    udfs = {n.name: n.function for n in workspace.project.of(Udf.kind) if isinstance(n, Udf)}
    model = revive(info["closure"], udfs)[f"{Model.kind}:{version.model}"]
    assert isinstance(model, Model)
    return Served(version, model, meaning(workspace, version), _loaded(workspace, version, model.trust_pickle))


def meaning(workspace: Workspace, version: Version) -> Meaning:
    """What a version was trained under; its code may be gone and its package damaged."""
    info: Any = version.info
    kinds = (Udf.kind, Model.kind)
    nouns = revive({ref: d for ref, d in info["closure"].items() if d["kind"] not in kinds}, {})
    schemas = {name: {c: Type(k) for c, k in columns.items()} for name, columns in info["schemas"].items()}
    return Meaning(Project(workspace.project.name, nouns), schemas, info["inputs"]["scales"])


def package_folder(workspace: Workspace, version: Version) -> Path:
    """The version's package on this machine, fetched if it is not there."""
    folder = workspace.state / "packages" / version.artifact
    if not folder.is_dir():
        with _alone(folder.parent):
            fetch_tree(workspace.artifacts, version.artifact, folder)
    return folder


def _loaded(workspace: Workspace, version: Version, trust_pickle: bool) -> LoadedModel:
    try:
        return load(package_folder(workspace, version), trust_pickle=trust_pickle)
    except (Invalid, NotFound, OSError):
        folder = workspace.state / "packages" / version.artifact
        with _alone(folder.parent):
            try:
                return load(folder, trust_pickle=trust_pickle)  # another process may have mended it
            except (Invalid, NotFound, OSError):
                shutil.rmtree(folder, ignore_errors=True)
            fetch_tree(workspace.artifacts, version.artifact, folder)
            return load(folder, trust_pickle=trust_pickle)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else on this machine fetches packages meanwhile; a killed process keeps nobody out (flock(2))."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_current(workspace: Workspace, used: Served, *sources: str) -> None:
    """Raise Conflict unless the data that is applied means what a version was trained on.

    That is: the sources of its features are declared as they were then, and neither they nor `sources` (names of tables
    and views) have changes in the project file that are not applied.
    """
    project, old = workspace.project, used.meaning.project
    read = [rows_of(view.source).ref for view in used.views]
    changed = [ref for ref in dict.fromkeys(read) if project.closure_digests.get(ref) != old.closure_digests[ref]]
    if changed:
        raise Conflict(
            f"{used.version.model}@{used.version.number} was trained when {', '.join(changed)} meant something else.",
            hint=f"Run `fivefold train {used.version.model}` and promote the new version.",
        )
    require_applied(workspace, [*read, *(n.ref for n in project.of("table", "view") if n.name in sources)])
