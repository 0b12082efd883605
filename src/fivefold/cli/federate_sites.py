"""Commands about the sites of federations and their rounds: invite, members, expel, rounds."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace
from fivefold.core.errors import Invalid, missing_extra

if TYPE_CHECKING:
    from fivefold.workspace import Workspace


def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The site.")],
    address: Annotated[str, typer.Option("--server", help="Where it finds the server, host:port.")] = "localhost:8450",
    enrol: Annotated[str, typer.Option("--enrol", help="And where it enrols, host:port.")] = "localhost:8451",
    hours: Annotated[float, typer.Option(help="How long the invitation is good.", min=0.01, max=8760)] = 24.0,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Invite a site: write an invitation to the output, to be handed over once, in a way that others cannot read.

    It holds a secret that is good for one enrolment. Send it into a file: `fivefold federate invite ada > ada.invite`.
    """
    need_extra()
    with workspace(project, env) as opened:
        import msgspec

        from fivefold.federated.rounds.serving import invite as make
        from fivefold.federated.rounds.serving import open_authority

        if sys.stdout.isatty():
            raise Invalid("an invitation is a secret and is not shown.", hint=f"Send it into a file: > {name}.invite")
        authority = open_authority(opened.catalog, authority_folder(opened))
        made = make(opened.catalog, authority, name, server=address, enrol=enrol, hours=hours, actor=opened.actor)
        sys.stdout.buffer.write(msgspec.json.encode(made) + b"\n")


def members(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Show the sites that have enrolled, with their keys: a site may pin those of others in its policy."""
    from fivefold.core.time import iso

    with workspace(project, env) as opened:
        found = opened.catalog.members.all()
    if json:
        emit(found)
        return
    rows: list[list[object]] = [
        [m.client, m.key, iso(m.joined_at), iso(m.revoked_at) if m.revoked_at else None] for m in found
    ]
    table("sites", ["name", "key", "since", "expelled"], rows)


def expel(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The site.")],
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Let a site in no more, whatever certificate it has. A new invitation lets it in again, with new keys."""
    with workspace(project, env) as opened:
        opened.catalog.members.revoke(name, actor=opened.actor)
    print(f"{name} is let in no more.")


def rounds(
    federation: Annotated[str, typer.Argument(metavar="FEDERATION")],
    run: Annotated[str, typer.Option("--run", help="Which run of the federation.")] = "1",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Show the rounds of a federation, the newest first: who was in the sum, how long it took, what went wrong."""
    with workspace(project, env) as opened:
        found = opened.catalog.rounds.all(f"{federation}@{run}", limit=limit)
    if json:
        emit([{f: getattr(r, f) for f in r.__struct_fields__ if f != "offer"} for r in found])
        return
    rows: list[list[object]] = [
        [
            r.round,
            r.status,
            sum(map(len, r.buckets)),
            sum(map(len, r.survivors or ())),
            (r.ended_at - r.opened_at) / 1e6 if r.ended_at else None,
            r.error,
        ]
        for r in found
    ]
    table(federation, ["round", "state", "asked", "in the sum", "seconds", "why"], rows)


def need_extra() -> None:
    """Raises Unsupported, with what to install, when a package is missing."""
    # gRPC's core reports every refused handshake, which is no fault of ours
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for package in ("cryptography", "grpc"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "federated", "a federation")


def authority_folder(opened: Workspace) -> Path:
    """Where the authority that signs certificates keeps its key."""
    return opened.state / "federation" / "authority"
