"""What a project's files say of its deployment; no store is opened and no environment variable read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fivefold.core.config import environment
from fivefold.core.errors import NotFound
from fivefold.core.features import FeatureView
from fivefold.core.uses import Endpoint
from fivefold.realtime.kubernetes.fitting import (
    SECRET,
    extras_of,
    require_no_secrets,
    require_several_machines,
    secrets_of,
    unknown_places,
)
from fivefold.realtime.kubernetes.wanted import Wanted, label
from fivefold.realtime.processes.replicas import parse_workers
from fivefold.workspace.project_file import find_root, load_project, read_settings


def read_wanted(
    start: Path,
    env: str,
    *,
    image: str = "",
    endpoints: Sequence[str] = (),
    replicas: str = "2-4",
    cpu: str = "1",
    memory: str = "1Gi",
    grpc: bool = False,
    tls_secret: str = "",
) -> tuple[Wanted, list[str]]:
    """What is to be deployed of the project at or above a folder, and the stores of which nothing is known.

    Raises Invalid (Several, for more than one) for an environment that only one machine can serve, for secrets in
    fivefold.toml and for quantities that are none; NotFound for an unknown endpoint or environment.
    """
    root = find_root(start)
    given = read_settings(root)
    secrets = secrets_of(given, env)
    # what a Secret holds stays its name: the same files make the same manifests, whoever runs this
    chosen = environment(given, env, {name: f"{SECRET}{name}" for name in secrets}, str(root / "fivefold.toml"))
    project = load_project(root, given)
    for name in endpoints:
        project.get(Endpoint.kind, name)
    if not project.of(Endpoint.kind) and not project.of(FeatureView.kind):
        raise NotFound("the project declares no endpoint.", hint="Add ff.Endpoint(NAME, MODEL) to project.py.")
    require_no_secrets(given)
    require_several_machines(chosen, project)
    least, most = parse_workers(replicas)
    name = label(f"{project.name}-{env}")
    wanted = Wanted(
        name,
        env,
        (root / "fivefold.toml").read_text(),
        chosen.state,
        image or f"registry.example.com/{label(project.name)}:1",
        tuple(endpoints),
        secrets,
        extras_of(chosen, project),
        least,
        most,
        cpu,
        memory,
        grpc,
        tls_secret,
    )
    return wanted, unknown_places(chosen)
