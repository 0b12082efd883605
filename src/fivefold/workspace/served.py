"""A version as it is used: its verified package, and the declarations, schemas and scales it was trained under."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fivefold.catalog.versions import Version
from fivefold.core.errors import NotFound
from fivefold.core.features import FeatureView, Udf, chosen
from fivefold.core.learning import Model
from fivefold.core.project import Project
from fivefold.core.revive import revive
from fivefold.core.types import Schema, Type
from fivefold.models.package import LoadedModel, load
from fivefold.ports.trees import fetch_tree
from fivefold.workspace.workspace import Workspace

CHAMPION = "champion"


class Served(msgspec.Struct, frozen=True):
    """A version ready to use. `model` is its own declaration, which the project file may have left behind."""

    version: Version
    model: Model
    project: Project
    schemas: Mapping[str, Schema]
    scales: Mapping[str, Mapping[str, int]]
    loaded: LoadedModel

    @property
    def views(self) -> list[FeatureView]:
        """The feature views whose values it reads, once each."""
        return list({v.name: v for v, _ in chosen(self.model.features).values()}.values())

    def online_name(self, view: FeatureView) -> str:
        """The name under which a view's values lie in the online store: a changed meaning is another view."""
        return online_name(self.project, view)


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
    """A version ready to use; its package is fetched once, verified every time.

    Raises Invalid for a corrupt package, Unsupported for a pickle that the model does not trust, or for changed code.
    """
    info: Any = version.info
    udfs = {n.name: n.function for n in workspace.project.of(Udf.kind) if isinstance(n, Udf)}
    nouns = revive(info["closure"], udfs)
    model = nouns[f"{Model.kind}:{version.model}"]
    assert isinstance(model, Model)
    schemas = {name: {c: Type(k) for c, k in columns.items()} for name, columns in info["schemas"].items()}
    loaded = load(package_folder(workspace, version), trust_pickle=model.trust_pickle)
    return Served(version, model, Project(workspace.project.name, nouns), schemas, info["inputs"]["scales"], loaded)


def package_folder(workspace: Workspace, version: Version) -> Path:
    """The version's package on this machine, fetched if it is not there."""
    folder = workspace.state / "packages" / version.artifact
    if not folder.is_dir():
        fetch_tree(workspace.artifacts, version.artifact, folder)
    return folder
