"""Commands that train a federation: simulate, server, client, budget."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli.federate_sites import authority_folder, expel, invite, members, need_extra, rounds
from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace
from fivefold.core.errors import NotFound

if TYPE_CHECKING:
    from fivefold.core.types import Schema
    from fivefold.federated.course.hosting import Ended, Event
    from fivefold.federated.rounds.enrolment import Site
    from fivefold.ports.artifacts import ArtifactStore
    from fivefold.workspace import Workspace

federate = typer.Typer(
    no_args_is_help=True,
    help="""Sites train a model together; their data never moves, and the server learns only sums.

    All of them have the same project.py, with an ff.Federation, and have run `fivefold apply`. First try it on rows
    that are all here: `fivefold federate simulate carriers`. Then, on the server, `fivefold federate server carriers
    --sites 16`, and for each site `fivefold federate invite NAME > NAME.invite`. At a site, `fivefold federate client
    carriers --invitation NAME.invite`. What was spent of the privacy that is promised: `fivefold federate budget`.""",
)
FolderOption = Annotated[Path, typer.Option("--folder", help="Where the site's keys and certificate are kept.")]
NameArgument = Annotated[str, typer.Argument(metavar="FEDERATION", help="A federation of the project.")]
RunOption = Annotated[
    str, typer.Option("--run", help="Which run of the federation: the same one goes on, another one begins anew.")
]
EventsOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for a console to follow.")]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (simulate, server, invite, client, rounds, budget, members, expel):
        federate.command()(command)
    app.add_typer(federate, name="federate", rich_help_panel="Use")


def simulate(
    federation: NameArgument,
    release: Annotated[bool, typer.Option("--promote/--no-promote", help="Champion, if the gates pass.")] = False,
    json: EventsOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Train a federation here, on the project's own rows divided by its column `split`: what would come of it?

    The coordinator, the secure sum, the noise and the sites are those of a network, in one process. The version is
    registered, and says that it was simulated. No privacy is spent, since nothing leaves this process.
    """
    need_extra()
    from fivefold.federated.course import simulation
    from fivefold.federated.course.definition import declared, task_name

    with workspace(project, env) as opened:
        noun = declared(opened, federation)
        ended = simulation.simulate(
            opened, noun, _schemas(opened), task_name(federation, "simulated"), release=release, told=_teller(json)
        )
    _show_ended(ended, json)


def server(
    federation: NameArgument,
    sites: Annotated[int, typer.Option("--sites", help="How many sites there are in all.", min=1)],
    quorum: Annotated[
        int | None, typer.Option(help="A round begins once so many are there; all, unless given.", min=1)
    ] = None,
    seconds: Annotated[float, typer.Option(help="The one deadline of a round.", min=1, max=30 * 86400)] = 600.0,
    run: RunOption = "1",
    host: Annotated[str, typer.Option(help="An address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="For sites that have enrolled; 0 for any.", min=0, max=65535)] = 8450,
    enrol_port: Annotated[int, typer.Option(help="For sites with an invitation; 0 for any.", min=0, max=65535)] = 8451,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A host name by which sites call (repeatable); localhost.")
    ] = None,
    release: Annotated[bool, typer.Option("--promote/--no-promote", help="Champion, if the gates pass.")] = True,
    json: EventsOption = False,
    poll: Annotated[float, typer.Option(hidden=True, help="Seconds between the questions of a site.")] = 1.0,
    lease: Annotated[float, typer.Option(hidden=True, help="Seconds after which a server is taken over.")] = 10.0,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Coordinate a federation until its model is trained and measured, then register the version and judge it.

    Killed at any time and started again it goes on. The columns are described first, then come the rounds of the
    strategy (or the levels of trees), then the model is measured on the sites' test rows, and the gates are decided on
    that. With ff.DP each sum is paid for before it can be known; one over budget is not released.

    TLS is always on: the authority that signs the sites' certificates lies in the project's state, for its owner alone.
    """
    need_extra()
    with workspace(project, env) as opened:
        from fivefold.federated.course import hosting
        from fivefold.federated.course.definition import declared, task_name
        from fivefold.federated.course.progress import read_progress
        from fivefold.federated.rounds.serving import Address, FederationServer

        noun, schemas, task = declared(opened, federation), _schemas(opened), task_name(federation, run)
        hosted = hosting.host(
            opened, noun, schemas, task, releases=opened.catalog.releases, sites=sites, quorum=quorum, seconds=seconds
        )
        made = FederationServer(
            opened.catalog,
            authority_folder(opened),
            {task: (hosted.plan, hosted.rule)},
            models=opened.artifacts,
            uploads=_folder_store(opened.state / "federation" / "uploads"),
            address=Address(host, port, enrol_port, [*(name or ()), "localhost", "127.0.0.1"]),
            poll=poll,
            lease_seconds=lease,
            over=_until_told(),
        )
        where = f"serving {task} on {host}:{made.port}, enrolment on {host}:{made.enrol_port}"
        print(where, file=sys.stderr if json else sys.stdout, flush=True)
        told, tell, coordinator = [0], _teller(json), made.coordinators[task]

        def progress() -> None:
            for event in hosting.events(opened.catalog.rounds, opened.artifacts, task, hosted.course, told[0]):
                told[0] = event.round
                tell(event)

        try:
            made.run(progress)
            progress()
        finally:
            made.close()
        if not coordinator.over:
            return
        state = read_progress(coordinator.state)
        ended = hosting.conclude(opened, hosted.course, opened.catalog.rounds, task, state, schemas, release=release)
    _show_ended(ended, json)


def budget(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Show what was spent of the privacy that federations promise: at a site its own account, on the server its own.

    A ledger is of the rows that a federation learns from: two federations over the same rows spend from one budget.
    """
    from fivefold.core.federation import Federation
    from fivefold.federated.privacy.ledger import ledger_of

    with workspace(project, env) as opened:
        spent = {release.ledger: release for release in opened.catalog.releases.ledgers()}
        found = []
        for noun in opened.project.of(Federation.kind):
            if not isinstance(noun, Federation) or noun.dp is None:
                continue
            ledger, dp = ledger_of(noun), noun.dp
            last = spent.get(ledger)
            found.append(
                {
                    "federation": noun.name,
                    "ledger": ledger,
                    "releases": last.number if last else 0,
                    "epsilon": last.epsilon if last else 0.0,
                    "budget": dp.epsilon,
                    "delta": dp.delta,
                    "last": last.what if last else None,
                }
            )
    if json:
        emit(found)
        return
    columns = ["federation", "ledger", "releases", "epsilon", "budget", "delta", "last"]
    table("privacy", columns, [[row[c] for c in columns] for row in found])


def client(
    federation: NameArgument,
    folder: FolderOption = Path("site"),
    invitation: Annotated[
        str, typer.Option("--invitation", metavar="FILE|-", help="Enrol with this first; - for standard input.")
    ] = "",
    address: Annotated[str, typer.Option("--server", help="Where the server is now, if it has moved.")] = "",
    policy: Annotated[
        Path | None, typer.Option("--policy", help="The site's own floors, in TOML: a table for each federation.")
    ] = None,
    run: RunOption = "1",
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Take part in a federation with this project's rows, which stay here. Ctrl-C ends it.

    This machine calls out and need not be reachable. The first time it enrols: it makes its keys, which never leave the
    folder, and shows its invitation. After that the folder is all it needs, and certificates renew themselves.

    What the server asks for must be what this project's own file declares, to the digest; and each round's signed
    manifest is held against the policy: modes, min_clients, min_survivors, corrupt, epsilon, definitions, code, peers.
    Without a policy only secure sums of at least three sites are accepted. With ff.DP this site keeps its own account
    of what it has told, and tells nothing over budget: see `fivefold federate budget`.
    """
    need_extra()
    from fivefold.federated.course.definition import declared, task_name
    from fivefold.federated.course.joining import join
    from fivefold.federated.rounds.policy import read_policy

    try:
        floors = read_policy(policy.read_text() if policy else "", federation)
    except OSError as wrong:
        raise NotFound(f"{policy} cannot be read: {wrong.strerror}.") from None
    with workspace(project, env) as opened:
        noun, schemas = declared(opened, federation), _schemas(opened)
        site = _site(folder, invitation)
        part = join(
            opened,
            noun,
            schemas,
            task_name(federation, run),
            folder=folder,
            site=site,
            policy=floors,
            address=address,
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


def _schemas(opened: Workspace) -> Mapping[str, Schema]:
    from fivefold.mlops import plan as plans

    return plans.check(opened).schemas


def _teller(json: bool) -> Callable[[Event], None]:
    """A function that tells what a round came to: a line for people, or a JSON object."""

    def tell(event: Event) -> None:
        if json:
            _line({"event": "round", **_plain(event)})
            return
        who = f"{event.sites} of {event.asked} sites" if event.status == "done" else event.error
        parts = [f"round {event.round}: {event.what}", who, f"{event.up:,} bytes up, {event.down:,} down a site"]
        parts += [f"loss {event.loss:.4f}"] if event.loss is not None else []
        parts += [f"epsilon {event.epsilon:.3g}"] if event.epsilon is not None else []
        print(f"{'; '.join(parts)} ({event.seconds:.1f} s)", flush=True)

    return tell


def _show_ended(ended: Ended, json: bool) -> None:
    version, released = ended.version, ended.release
    if json:
        _line({"event": "version", **_plain(ended)})
        return
    figures = ", ".join(f"{name} {m['value']:.4f}" for name, m in version.info["metrics"].items())
    print(f"{version.model}@{version.number} ({version.key[:12]}): {figures or 'not measured'}")
    for d in ended.verdict.decisions:
        print(f"  {'passed' if d.passed else 'FAILED'}: {d.reason}")
    if released is not None:
        print(f"{version.model}@{version.number} {'is champion' if released.champion else 'is not promoted'}.")


def _plain(value: object) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(value)
    return found


def _line(value: object) -> None:
    import msgspec

    print(msgspec.json.encode(value, order="sorted").decode(), flush=True)


def _until_told() -> threading.Event:
    """Set when the process is told to end."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    return over


def _folder_store(folder: Path) -> ArtifactStore:
    from fivefold.backends import connect
    from fivefold.ports.artifacts import ArtifactStore

    port: Any = ArtifactStore
    store: ArtifactStore = connect(port, f"files:{folder}")
    return store
