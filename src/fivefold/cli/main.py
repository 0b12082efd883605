"""`fivefold`: one command for the whole life of a project."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from fivefold import __version__
from fivefold.cli import (
    access,
    conformance,
    features,
    federate,
    manifests,
    models,
    projects,
    serving,
    streams,
    users,
    why,
)
from fivefold.core.errors import FivefoldError, Several

app = typer.Typer(
    name="fivefold",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Declare data, features and models in one Python file; run them everywhere.

    A first hour: `fivefold init DIR`, edit `project.py`, then `fivefold plan`, `fivefold apply`, `fivefold train
    MODEL`. Or see it all on real data: `fivefold demo`.""",
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"fivefold {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    pass


projects.add_to(app)
models.add_to(app)
serving.add_to(app)
features.add_to(app)
streams.add_to(app)
why.add_to(app)
conformance.add_to(app)
manifests.add_to(app)
users.add_to(app)
access.add_to(app)
federate.add_to(app)

DEBUG = "--debug"


def run() -> None:
    """Run the command line. Our own errors end with one message and exit code 1; anything else is shown as a bug."""
    # before OpenMP starts: threads that wait by spinning slow training tenfold where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = DEBUG in sys.argv
    if debug:
        sys.argv.remove(DEBUG)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        _run_command(debug)
    except BaseException:
        if not _interrupts:
            raise
        # whatever a library made of it, it was Ctrl-C
        print("interrupted; run the same command again to go on.", file=sys.stderr)
        sys.exit(130)


def _run_command(debug: bool) -> None:
    try:
        app(standalone_mode=True)
    except FivefoldError as e:
        if debug or _interrupts:
            raise
        print(_told(e), file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)


class _Interrupted(BaseException):
    """Ctrl-C, in a class of its own: typer would take a KeyboardInterrupt for itself and say no more than Aborted."""


_interrupts: list[int] = []


def _interrupt(number: int, frame: object) -> None:
    _interrupts.append(number)
    raise _Interrupted


def _told(error: FivefoldError) -> str:
    if isinstance(error, Several):
        return f"error: {error.message}"
    return f"error: {error.message}" + (f"\n  {error.hint}" if error.hint else "")


if __name__ == "__main__":
    run()
