"""What every command shares: which project, which environment, who is acting, how progress is shown."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fivefold.workspace import Workspace

ProjectOption = Annotated[Path, typer.Option("--project", "-p", help="A folder of the project (or one inside it).")]
EnvOption = Annotated[str, typer.Option("--env", "-e", help="The environment: dev, or one named in fivefold.toml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
HERE = Path()


@contextmanager
def workspace(project: Path, env: str) -> Iterator[Workspace]:
    """The workspace a command works in; the environment variables are handed over here and nowhere else."""
    from fivefold.workspace import open_workspace

    with open_workspace(project, env=env, actor=actor(), secrets=dict(os.environ)) as opened:
        yield opened


def actor() -> str:
    """Who is acting, for the audit log: FIVEFOLD_ACTOR, else the user of this machine."""
    return os.environ.get("FIVEFOLD_ACTOR") or getpass.getuser()


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function to report progress to: bars on a terminal once something takes longer than a moment, else silence."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


def emit(value: Any) -> None:
    """Print a value as indented JSON."""
    import msgspec

    raw = msgspec.json.encode(value, order="sorted")
    print(msgspec.json.format(raw, indent=2).decode())


def table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Print rows for people; numbers stand right."""
    from rich.console import Console
    from rich.table import Table

    numeric = [all(isinstance(r[i], int | float) for r in rows) and bool(rows) for i in range(len(columns))]
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, right in zip(columns, numeric, strict=True):
        grid.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*[_cell(v) for v in row])
    # piped into a file or another program there is no width to fit: a cell is never broken there
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000
    Console(highlight=False, width=width).print(grid if rows else f"{title}: none" if title else "none")


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))


def duration_text(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
