"""The steps of endpoints as they answered: kept by digest beside the prediction log, which names them by it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from fivefold.core.canonical import digest
from fivefold.core.errors import NotFound
from fivefold.core.features import Udf
from fivefold.core.learning import Model
from fivefold.core.noun import definition
from fivefold.core.revive import revive
from fivefold.core.uses import Step
from fivefold.workspace.predictions import log_folder
from fivefold.workspace.workspace import Workspace

GRAPHS = "graphs"


def keep_graph(workspace: Workspace, steps: Sequence[Step]) -> str:
    """Keep what steps are, without their models, which have versions; the digest by which it is found again."""
    told = [{"model": s.name} if isinstance(s, Model) else definition(s) for s in steps]
    named = digest("graph", told)
    path = log_folder(workspace.state, GRAPHS) / f"{named}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{named}.{os.getpid()}.tmp")
        part.write_bytes(msgspec.json.encode(told))
        part.replace(path)
    return named


def kept_graph(workspace: Workspace, named: str) -> list[str | Step]:
    """The steps of a digest: a model by its name, any other as it was declared.

    Raises NotFound when it is not kept here, Unsupported for a Udf whose code has changed since.
    """
    path = log_folder(workspace.state, GRAPHS) / f"{named}.json"
    try:
        told: list[dict[str, Any]] = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise NotFound(
            f"the steps {named[:16]} that answered are not kept on this machine.", hint="Ask where they were served."
        ) from None
    udfs = {n.name: n.function for n in workspace.project.nouns.values() if isinstance(n, Udf)}
    return [s["model"] if "model" in s else _step(s, udfs) for s in told]


def _step(told: dict[str, Any], udfs: Mapping[str, Callable[..., Any]]) -> Step:
    ref = f"{told['kind']}:{told['name']}"
    step = revive({ref: told}, udfs)[ref]
    assert isinstance(step, Step)
    return step
