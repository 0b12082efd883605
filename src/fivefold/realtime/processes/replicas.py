"""`fivefold serve --workers`: the same command in several processes, on sockets that their supervisor opened."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fivefold.core.errors import Invalid, Unavailable
from fivefold.realtime.processes.autoscaler import Policy
from fivefold.realtime.processes.process import BACKLOG
from fivefold.realtime.processes.server import Replica, bound
from fivefold.realtime.processes.supervisor import Supervisor
from fivefold.realtime.telemetry.workers import add_up

MOST_WORKERS = 256


def parse_workers(text: str) -> tuple[int, int]:
    """The least and the most processes of `N` or `N-M`. Raises Invalid for anything else."""
    found = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text)
    least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= least <= most <= MOST_WORKERS:
        raise Invalid(
            f"--workers {text!r} is no number of processes (accepted: 1 to {MOST_WORKERS}, or a range such as 1-4)."
        )
    return least, most


def replica_of(text: str) -> Replica:
    """What a worker was given by its supervisor. Raises Invalid for anything else."""
    found = re.fullmatch(r"(\d+),(\d+),(.+)", text)
    if found is None:
        raise Invalid("--replica is for a supervisor's own use.", hint="Use --workers.")
    try:
        return Replica(socket.socket(fileno=int(found[1])), int(found[2]), Path(found[3]))
    except OSError as e:
        raise Invalid(f"--replica {text}: {e.strerror}.", hint="Use --workers.") from None


def supervise(
    words: Sequence[str],
    scheme: str,
    host: str,
    port: int,
    grpc_port: int | None,
    least: int,
    most: int,
    say: Callable[[str], None],
) -> None:
    """Run the command with these words in `least` to `most` processes until told to stop.

    Raises Unavailable when a port is taken.
    """
    with ExitStack() as stack:
        listening = stack.enter_context(bound(host, port))
        listening.listen(BACKLOG)
        own = list(words)
        numbers = Path(stack.enter_context(TemporaryDirectory(prefix="fivefold-", ignore_cleanup_errors=True)))
        if grpc_port is not None:
            # it is not listened on here: this only finds, and keeps, a port for all
            reserved = stack.enter_context(_reserved(host, grpc_port))
            own += ["--grpc-port", str(reserved.getsockname()[1])]

        def command(sock: int, pipe: int) -> list[str]:
            program = "from fivefold.cli.main import run; run()"
            return [sys.executable, "-c", program, *own, "--replica", f"{sock},{pipe},{numbers}"]

        def ready() -> None:
            where, bound_port = listening.getsockname()[:2]
            if grpc_port is not None:
                say(f"serving gRPC on {host}:{own[-1]}")
            say(f"serving on {scheme}://{f'[{where}]' if ':' in where else where}:{bound_port} (Ctrl-C ends it)")

        Supervisor(command, listening, Policy(least=least, most=most), gone=partial(_gone, numbers)).run(ready)


def _gone(numbers: Path, pid: int, why: str) -> None:
    try:
        add_up(numbers, pid, why)
    except OSError as e:
        print(f"warning: the numbers of worker {pid} are lost: {e}", file=sys.stderr)


def _reserved(host: str, port: int) -> socket.socket:
    address = "127.0.0.1" if host == "localhost" else host
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((address, port))
    except OSError as e:
        made.close()
        raise Unavailable(
            f"cannot serve gRPC on {host}:{port}: {e.strerror or e}.", hint="Try another --grpc-port."
        ) from None
    return made
