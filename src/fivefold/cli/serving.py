"""Commands that use a model: materialize, serve, score."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, progress, table, workspace

if TYPE_CHECKING:
    from fivefold.realtime.endpoint import Live


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    register = app.command(rich_help_panel="Use")
    register(materialize)
    register(serve)
    register(score)


def materialize(
    views: Annotated[list[str] | None, typer.Argument(metavar="[VIEW]...", help="All, when none is named.")] = None,
    at: Annotated[str, typer.Option("--at", help="As of this ISO 8601 time; now, when left out.")] = "",
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Put the newest feature values of every entity into the online store, for `serve`.

    Windows end at the moment given: for data of the past, say one with --at.
    """
    from fivefold.core.time import instant, iso
    from fivefold.mlops.materialise import materialise_views, newest_event

    with workspace(project, env) as opened, progress() as show:
        moment = instant(at, "--at") if at else opened.clock()
        made = materialise_views(opened, views or [], moment, progress=show)
        empty = {m.view: newest_event(opened, m.view) for m in made if not m.entities}
    if json:
        emit(made)
        return
    table(
        f"as of {iso(moment)}",
        ["view", "entities", "state"],
        [[m.view, m.entities, "made" if m.new else "there already"] for m in made],
    )
    for view, newest in empty.items():
        print(f"warning: {view} has no row in its windows then; its newest event is of {newest}. Try --at {newest}.")


def serve(
    host: Annotated[str, typer.Option(help="An address of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any free port.", min=0, max=65535)] = 8000,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="Serve this one (repeatable); all by default.")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option("--grpc-port", help="Answer gRPC here too; 0 for any free port.", min=0, max=65535)
    ] = None,
    at: Annotated[
        str, typer.Option("--at", help="Answer for this ISO 8601 moment, for data of the past; for now, when left out.")
    ] = "",
    workers: Annotated[
        str, typer.Option("--workers", metavar="N|N-M", help="Processes that answer; of N-M as many as the load needs.")
    ] = "1",
    replica: Annotated[str, typer.Option("--replica", hidden=True, help="The socket and pipe of a worker.")] = "",
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Answer `POST /predict/ENDPOINT` with the champion; a promotion is picked up while it serves. Ctrl-C ends it.

    Clients of the Open Inference Protocol (`/v2`, and gRPC with --grpc-port), of TensorFlow Serving (`/v1/models`) and
    of MLflow (`/invocations`) get the same answers; docs/serving.md has a request for each. With --workers, SIGHUP
    replaces the processes one by one, without a failed request.
    """
    from fivefold.core.time import instant
    from fivefold.realtime.replicas import parse_workers, replica_of, supervise
    from fivefold.realtime.server import chosen_endpoints
    from fivefold.realtime.server import serve as run

    moment = instant(at, "--at") if at else None
    least, most = parse_workers(workers)
    mine = replica_of(replica) if replica else None
    if mine is None and (least, most) != (1, 1):
        with workspace(project, env) as opened:
            chosen_endpoints(opened, endpoint)  # what is wrong is said once, and not by each worker
        supervise(sys.argv[1:], host, port, grpc_port, least, most, lambda text: print(text, flush=True))
        return
    with workspace(project, env) as opened:
        run(
            opened,
            host=host,
            port=port,
            names=endpoint or None,
            at=moment,
            grpc_port=grpc_port,
            started=None if mine else _introduce,
            started_grpc=None if mine else lambda where: print(f"serving gRPC on {where}", flush=True),
            replica=mine,
        )


def score(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A batch job of the project.")],
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Score every row of a batch job's source and publish the predictions, all or nothing."""
    from fivefold.batch.score import score as run
    from fivefold.core.uses import BatchJob

    with workspace(project, env) as opened, progress() as show:
        noun = opened.project.get(BatchJob.kind, job)
        assert isinstance(noun, BatchJob)
        made = run(opened, noun, progress=show, say=lambda text: print(text, file=sys.stderr))
    if json:
        emit(made)
        return
    m = made.manifest
    if not made.new:
        print(f"{job} was published from the same inputs already: {m.rows_scored:,} rows in {made.folder}.")
        return
    print(
        f"{job}: {m.rows_scored:,} rows scored by {m.model}@{m.version}, published in {made.folder}"
        + (f"; {m.rows_rejected:,} rejected, see {made.folder}/_rejected" if m.rows_rejected else "")
        + "."
    )


def _introduce(url: str, endpoints: dict[str, Live]) -> None:
    """Say where it listens, with a request that works."""
    import json

    for name, live in endpoints.items():
        if live.served is None:
            print(
                f"{name}: no champion yet ({live.trouble.message if live.trouble else 'promote one'}); "
                "it is picked up as soon as there is one."
            )
            continue
        for view, moment in live.materialised().items():
            if moment is None:
                print(f"{name}: no values of the feature view {view!r} yet; run `fivefold materialize`.")
        values = {"int64": 1, "float64": 1.0, "bool": True, "string": "x", "timestamp": 0}
        example = {n: live.example.get(n, values[k]) for n, k in live.fields.items()}
        print(
            f"{name}: {live.served.version.model}@{live.served.version.number}. Try:\n"
            f"  curl -s {url}/predict/{name} -H 'content-type: application/json' -d '{json.dumps(example)}'"
        )
    print(f"serving on {url} (Ctrl-C ends it)", flush=True)
