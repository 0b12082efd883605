"""Commands that use a model: materialize, serve, score."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, progress, table, workspace

if TYPE_CHECKING:
    from fivefold.realtime.endpoints.endpoint import Live
    from fivefold.realtime.http.tls import Certificates
    from fivefold.realtime.telemetry.watching import Watch


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
    on: Annotated[
        str,
        typer.Option("--on", metavar="ray", help="Serve in replicas of Ray Serve, of which --workers says how many."),
    ] = "",
    address: Annotated[
        str, typer.Option("--address", help="Of a Ray cluster, such as auto; one of its own, when left out.")
    ] = "",
    replica: Annotated[str, typer.Option("--replica", hidden=True, help="The socket and pipe of a worker.")] = "",
    tls_cert: Annotated[Path | None, typer.Option(help="A chain of certificates in PEM: serve with TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, in PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(help="Ask clients for a certificate of these authorities; its common name is a user's."),
    ] = None,
    insecure_http: Annotated[
        bool, typer.Option("--insecure-http", help="Serve other machines without TLS: a proxy in front encrypts.")
    ] = False,
    access_log: Annotated[
        str, typer.Option("--access-log", metavar="FILE|-", help="A line of JSON for each request; - for the output.")
    ] = "",
    traces: Annotated[
        float | None,
        typer.Option("--traces", metavar="SHARE", help="Trace this share of requests (0 to 1) with OpenTelemetry."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what a request goes through and what each stage takes, and end.")
    ] = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Answer `POST /predict/ENDPOINT` with the champion; a promotion is picked up while it serves. Ctrl-C ends it.

    Clients of the Open Inference Protocol (`/v2`, and gRPC with --grpc-port), of TensorFlow Serving (`/v1/models`) and
    of MLflow (`/invocations`) get the same answers; docs/serving.md has a request for each. As soon as there is a user
    or a token, credentials are asked for; other machines are served only then, and with TLS (docs/security.md). With
    --workers, SIGHUP replaces the processes one by one, without a failed request. `/metrics` is for Prometheus;
    docs/operations.md has that, --access-log, --traces and --explain. With --on ray the same is served by a Ray cluster
    (docs/beyond_one_machine.md).
    """
    if explain:
        from fivefold.cli.explain import explain_endpoints

        explain_endpoints(project, env, endpoint or None, at)
        return
    from fivefold.core.time import instant
    from fivefold.realtime.processes.replicas import parse_workers, replica_of, supervise
    from fivefold.realtime.processes.server import chosen_endpoints, require_safe
    from fivefold.realtime.processes.server import serve as run

    moment = instant(at, "--at") if at else None
    tls = _certificates(tls_cert, tls_key, tls_client_ca)
    least, most = parse_workers(workers)
    mine = replica_of(replica) if replica else None
    if insecure_http and mine is None:
        print("warning: --insecure-http: whoever listens on the way reads passwords and tokens.", file=sys.stderr)
    if on or address:
        watched = bool(access_log) or traces is not None
        ours = (grpc_port, tls is not None, watched)
        _on_ray(on, address, project, env, endpoint or [], moment, workers, host, port, insecure_http, ours)
        return
    if mine is None and (least, most) != (1, 1):
        with workspace(project, env) as opened:
            # what is wrong is said once, and not by each worker
            require_safe(opened, host, tls is not None, insecure_http)
            chosen_endpoints(opened, endpoint)
        scheme = "https" if tls else "http"
        supervise(sys.argv[1:], scheme, host, port, grpc_port, least, most, lambda text: print(text, flush=True))
        return
    with workspace(project, env) as opened, _watching(access_log, traces) as watch:
        run(
            opened,
            host=host,
            port=port,
            names=endpoint or None,
            at=moment,
            grpc_port=grpc_port,
            tls=tls,
            insecure_http=insecure_http,
            started=None if mine else _introduce,
            started_grpc=None if mine else lambda where: print(f"serving gRPC on {where}", flush=True),
            replica=mine,
            watch=watch,
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


def _on_ray(
    on: str,
    address: str,
    project: Path,
    env: str,
    names: list[str],
    at: int | None,
    replicas: str,
    host: str,
    port: int,
    insecure_http: bool,
    ours: tuple[int | None, bool, bool],
) -> None:
    from fivefold.core.errors import Invalid
    from fivefold.realtime.processes import on_ray
    from fivefold.workspace.project_file import find_root, read_settings

    if on != "ray":
        raise Invalid(f"--on {on!r} (accepted: ray).", hint="--address is of a Ray cluster, for --on ray.")
    on_ray.require_no_more(*ours)
    root = find_root(project)
    made = on_ray.application(
        root, env=env, names=names, at=at, replicas=replicas, host=host, insecure_http=insecure_http
    )
    name = f"{read_settings(root).project}-{env}"
    on_ray.run(
        made,
        name=name,
        host=host,
        port=port,
        address=address,
        ready=lambda url: print(f"serving {name} on Ray at {url} (Ctrl-C ends it)", flush=True),
    )


@contextmanager
def _watching(access_log: str, traces: float | None) -> Iterator[Watch]:
    """What sees each request."""
    from contextlib import ExitStack, closing

    from fivefold.realtime.telemetry.access_log import AccessLog
    from fivefold.realtime.telemetry.watching import Watch

    with ExitStack() as stack:
        access = stack.enter_context(closing(AccessLog(access_log))) if access_log else None
        tracing = None
        if traces is not None:
            from fivefold.realtime.telemetry.tracing import tracing as tracing_to

            tracing = stack.enter_context(closing(tracing_to(traces, os.environ)))
        yield Watch(access, tracing)


def _certificates(cert: Path | None, key: Path | None, client_ca: Path | None) -> Certificates | None:
    from fivefold.core.errors import Invalid
    from fivefold.realtime.http.tls import Certificates

    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise Invalid("--tls-cert and --tls-key are needed, both.", hint="--tls-client-ca stands beside them.")
    return Certificates(cert, key, client_ca)


def _introduce(url: str, endpoints: Mapping[str, Live], closed: bool) -> None:
    """Say where it listens, with a request that works."""
    import json

    who = '-H "authorization: Bearer $TOKEN" ' if closed else ""
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
            f"  curl -s {url}/predict/{name} {who}-H 'content-type: application/json' -d '{json.dumps(example)}'"
        )
    print(f"serving on {url} (Ctrl-C ends it)", flush=True)
