"""The command that asks whether a server speaks the Open Inference Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fivefold.cli.session import JsonOption, emit


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    app.command(rich_help_panel="Use")(conformance)


def conformance(
    url: Annotated[str, typer.Argument(metavar="URL", help="A server, for instance http://localhost:8000.")],
    model: Annotated[str, typer.Option(help="The model to ask; by default the first that the server lists.")] = "",
    grpc: Annotated[str, typer.Option("--grpc", metavar="HOST:PORT", help="Check its gRPC form here too.")] = "",
    request: Annotated[
        Path | None, typer.Option(help="A JSON request that the model answers; by default it is asked about ones.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with a token; else FIVEFOLD_TOKEN of the environment."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check any server of the Open Inference Protocol v2 (KServe, Triton), question by question.

    A token is never an argument: those can be read by others on the machine. Exit code 1 when a check fails. What a
    server does not say that it can is skipped.
    """
    from fivefold.realtime.conformance.run import FAIL, PASS, SKIP, run

    results = []
    for result in run(url, model, grpc, _inputs(request) if request else (), _token(token_file)):
        results.append(result)
        if not json:
            print(f"{result.outcome}  {result.check}{f': {result.why}' if result.why else ''}", flush=True)
    counts = {outcome: sum(r.outcome == outcome for r in results) for outcome in (PASS, FAIL, SKIP)}
    if json:
        emit({"results": [r._asdict() for r in results], "counts": counts})
    else:
        print(f"{counts[PASS]} passed, {counts[FAIL]} failed, {counts[SKIP]} skipped.")
    if counts[FAIL]:
        raise typer.Exit(1)


def _token(file: Path | None) -> str:
    import os

    from fivefold.core.errors import Invalid

    if file is None:
        return os.environ.get("FIVEFOLD_TOKEN", "").strip()
    try:
        token = file.read_text().strip()
    except (OSError, ValueError) as e:
        raise Invalid(f"--token-file {file}: {type(e).__name__}: {e}.") from None
    if not token or len(token.split()) > 1:
        raise Invalid(f"--token-file {file} does not hold a token alone.", hint="`fivefold tokens add` shows one once.")
    return token


def _inputs(file: Path) -> list[dict[str, Any]]:
    import msgspec

    from fivefold.core.errors import Invalid

    try:
        found = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])["inputs"]
        return msgspec.convert(found, list[dict[str, Any]])
    except (OSError, ValueError, KeyError) as e:
        raise Invalid(
            f"--request {file}: {type(e).__name__}: {e}.",
            hint='Write {"inputs": [{"name", "datatype", "shape", "data"}]}.',
        ) from None
