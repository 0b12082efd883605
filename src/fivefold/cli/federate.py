"""Commands of federations: server, invite, members, expel, rounds, client."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace
from fivefold.core.errors import Invalid, NotFound, missing_extra

if TYPE_CHECKING:
    from fivefold.federated.rounds.enrolment import Site
    from fivefold.ports.artifacts import ArtifactStore
    from fivefold.workspace import Workspace

federate = typer.Typer(
    no_args_is_help=True,
    help="""Sites train together; their data never moves, and the server learns only sums.

    On the server: `fivefold federate server federations.toml`, and `fivefold federate invite NAME > NAME.invite` for
    each site. At a site: `fivefold federate client carriers --work site.py:work --invitation NAME.invite`.""",
)
FolderOption = Annotated[Path, typer.Option("--folder", help="Where the site's keys and certificate are kept.")]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (server, invite, members, expel, rounds, client):
        federate.command()(command)
    app.add_typer(federate, name="federate", rich_help_panel="Use")


def server(
    file: Annotated[Path, typer.Argument(help="The federations, in TOML.")],
    host: Annotated[str, typer.Option(help="An address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="For sites that have enrolled; 0 for any.", min=0, max=65535)] = 8450,
    enrol_port: Annotated[int, typer.Option(help="For sites with an invitation; 0 for any.", min=0, max=65535)] = 8451,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A host name by which sites call (repeatable); localhost.")
    ] = None,
    poll: Annotated[float, typer.Option(hidden=True, help="Seconds between the questions of a site.")] = 1.0,
    lease: Annotated[float, typer.Option(hidden=True, help="Seconds after which a server is taken over.")] = 10.0,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Coordinate federations until all their rounds are done. Killed at any time and started again, it goes on.

    The file has a table for each federation:

        [carriers]
        rounds = 20
        length = 1000                     # values in a site's vector, and bits of each
        bits = 16
        cohort = 16                       # sites in a round, and how many must be in a sum
        min_survivors = 12
        seconds = 600                     # the one deadline of a round
        rule = "strategy.py:Averaging"    # what becomes of the sums

    TLS is always on: the authority that signs the sites' certificates lies in the project's state, for its owner alone.
    """
    _need_extra()
    with workspace(project, env) as opened:
        from fivefold.federated.rounds.plan_file import read_plans
        from fivefold.federated.rounds.serving import Address, FederationServer

        names = [*(name or ()), "localhost", "127.0.0.1"]
        made = FederationServer(
            opened.catalog,
            _authority_folder(opened),
            read_plans(file),
            models=opened.artifacts,
            uploads=_folder_store(opened.state / "federation" / "uploads"),
            address=Address(host, port, enrol_port, names),
            poll=poll,
            lease_seconds=lease,
            over=_until_told(),
        )
        print(f"serving federations on {host}:{made.port}, enrolment on {host}:{made.enrol_port}", flush=True)
        told: dict[str, int] = {}

        def progress() -> None:
            for task in made.coordinators:
                for row in reversed(opened.catalog.rounds.all(task, limit=10)):
                    if row.status != "open" and row.round > told.get(task, 0):
                        told[task] = row.round
                        count = sum(map(len, row.survivors or ()))
                        print(f"{task} round {row.round}: {row.status}, {row.error or f'{count} sites'}", flush=True)

        try:
            made.run(progress)
            progress()
        finally:
            made.close()


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
    _need_extra()
    with workspace(project, env) as opened:
        import msgspec

        from fivefold.federated.rounds.serving import invite as make
        from fivefold.federated.rounds.serving import open_authority

        if sys.stdout.isatty():
            raise Invalid("an invitation is a secret and is not shown.", hint=f"Send it into a file: > {name}.invite")
        authority = open_authority(opened.catalog, _authority_folder(opened))
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
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Show the rounds of a federation, the newest first: who was in the sum, how long it took, what went wrong."""
    with workspace(project, env) as opened:
        found = opened.catalog.rounds.all(federation, limit=limit)
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


def client(
    federation: Annotated[str, typer.Argument(metavar="FEDERATION")],
    work: Annotated[str, typer.Option("--work", metavar="FILE.py:NAME", help="A function of manifest and model.")],
    folder: FolderOption = Path("site"),
    invitation: Annotated[
        str, typer.Option("--invitation", metavar="FILE|-", help="Enrol with this first; - for standard input.")
    ] = "",
    address: Annotated[str, typer.Option("--server", help="Where the server is now, if it has moved.")] = "",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The site's own floors, in TOML: a table for each federation.")
    ] = None,
) -> None:
    """Take part in a federation from this machine, which calls out and need not be reachable. Ctrl-C ends it.

    The first time it enrols: it makes its keys, which never leave the folder, and shows its invitation. After that the
    folder is all it needs, and certificates renew themselves. Before each round the manifest that the server has signed
    is held against the policy: modes, min_clients, min_survivors, corrupt, epsilon, definitions, code, peers. Without
    a policy only secure sums of at least three sites are accepted.
    """
    _need_extra()
    from fivefold.federated.identity.keys import Keys
    from fivefold.federated.rounds.participant import Participant
    from fivefold.federated.rounds.plan_file import load
    from fivefold.federated.rounds.policy import read_policy
    from fivefold.federated.wire.grpc_line import GrpcLine

    try:
        floors = read_policy(policy.read_text() if policy else "", federation)
    except OSError as wrong:
        raise NotFound(f"{policy} cannot be read: {wrong.strerror}.") from None
    task = load(work, Path.cwd())
    site = _site(folder, invitation)
    keys, where = Keys(folder, site.client), address or site.server
    part = Participant(
        federation,
        task,
        floors,
        keys=keys,
        site=site,
        connect=lambda: GrpcLine(where, site.authority.encode(), keys.tls),
        store=_folder_store(folder / "models" / quote(federation, safe="")),
        folder=folder,
        say=lambda text: print(f"{site.client}: {text}", flush=True),
    )
    try:
        part.run(_until_told())
    finally:
        part.close()


def _site(folder: Path, invitation: str) -> Site:
    """What the folder knows of its server; enrolled with the invitation if there is one, and it was not used yet."""
    from fivefold.federated.identity.invitation import read_invitation
    from fivefold.federated.rounds.enrolment import enrol, read_site
    from fivefold.federated.wire.grpc_line import GrpcLine

    try:
        return read_site(folder)
    except NotFound:
        if not invitation:
            raise
    try:
        data = sys.stdin.buffer.read() if invitation == "-" else Path(invitation).read_bytes()
    except OSError as wrong:
        raise NotFound(f"{invitation} cannot be read: {wrong.strerror}.") from None
    site = enrol(folder, read_invitation(data), GrpcLine)
    print(f"enrolled as {site.client}.", flush=True)
    return site


def _authority_folder(opened: Workspace) -> Path:
    return opened.state / "federation" / "authority"


def _until_told() -> threading.Event:
    """Set when the process is told to end."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    return over


def _need_extra() -> None:
    """Raises Unsupported, with what to install, when a package is missing."""
    # gRPC's core reports every refused handshake, which is no fault of ours
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for package in ("cryptography", "grpc"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "federated", "a federation")


def _folder_store(folder: Path) -> ArtifactStore:
    from fivefold.backends import connect
    from fivefold.ports.artifacts import ArtifactStore

    port: Any = ArtifactStore
    store: ArtifactStore = connect(port, f"files:{folder}")
    return store
