"""Commands about a project as a whole: init, plan, apply, list, infer, quarantine, demo."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fivefold.cli.federate_sites import need_extra
from fivefold.cli.session import (
    HERE,
    EnvOption,
    JsonOption,
    ProjectOption,
    duration_text,
    emit,
    progress,
    table,
    workspace,
)
from fivefold.core.federation import Federation
from fivefold.core.types import Schema

if TYPE_CHECKING:
    from fivefold.mlops.plan import Plan
    from fivefold.workspace import Workspace


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    register = app.command(rich_help_panel="Project")
    register(init)
    register(plan)
    register(apply)
    app.command("list", rich_help_panel="Project")(list_)
    register(infer)
    register(quarantine)
    register(demo)


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an empty one.")],
    template: Annotated[str, typer.Option(help="flights (real data, needs fivefold[demo]) or blank.")] = "blank",
) -> None:
    """Make a working project: a project.py to edit, a fivefold.toml, some data.

    Then, inside it: `fivefold plan`, `fivefold apply`, `fivefold train MODEL`.
    """
    from fivefold.demo.start import start

    model = start(folder, template)
    print(
        f"made {folder}. Next:\n  cd {shlex.quote(str(folder))}\n  fivefold plan\n  fivefold apply\n"
        f"  fivefold train {model}\n  fivefold materialize\n  fivefold serve"
    )


def plan(
    check: Annotated[
        bool, typer.Option("--check", help="Exit with code 2 when something would change (for CI).")
    ] = False,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Show what applying the project file would change, what stands on it, and what rebuilding that costs.

    Wiring mistakes are reported all at once: unknown columns and tables, wrong types, cycles, features that could see
    the future. New data is counted, not read. Nothing is changed. Exit code 1 for mistakes.
    """
    from fivefold.mlops import plan as plans

    with workspace(project, env) as opened:
        checked = plans.check(opened)
        made = plans.plan(opened)
        foresight = _federations(opened, checked.schemas)
    if json:
        emit(made)
    else:
        _show(made)
        for ref, says in foresight.items():
            print(f"\n{ref}:\n" + "\n".join(f"  {line}" for line in says))
    if check and not made.empty:
        raise typer.Exit(2)


def _federations(opened: Workspace, schemas: Mapping[str, Schema]) -> dict[str, tuple[str, ...]]:
    """What each federation will cost and tell; raises where one cannot keep what it declares."""
    found = [noun for noun in opened.project.of(Federation.kind) if isinstance(noun, Federation)]
    if not found:
        return {}
    from fivefold.federated.foresight import foreseen

    return {noun.ref: foreseen(opened, noun, schemas) for noun in found}


def apply(json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Carry the plan out: read new data, derive views, record the definitions. Again, and nothing new happens."""
    from fivefold.mlops import plan as plans
    from fivefold.mlops.apply import apply as carry_out

    with workspace(project, env) as opened, progress() as show:
        checked = plans.check(opened)
        made = plans.plan(opened)
        outcome = carry_out(opened, checked, made, progress=show)
    if json:
        emit(outcome)
        return
    table(
        "",
        ["source", "parts", "new", "rows", "quarantined", "warnings"],
        [
            [
                s.ref,
                s.parts,
                s.new_parts,
                s.rows,
                s.quarantined,
                ", ".join(f"{n}: {c}" for n, c in s.warnings.items()) or "-",
            ]
            for s in outcome.sources
        ],
    )
    if outcome.changed:
        print(f"\napplied {len(outcome.changed)} declarations to {env} (revision {outcome.revision}).")
    else:
        print(f"\nnothing changed in {env} (revision {outcome.revision}).")
    commands = list(dict.fromkeys(r.command for r in made.rebuilds if r.command != "fivefold apply"))
    if commands:
        print("next: " + "; ".join(commands))
    if any(s.quarantined for s in outcome.sources):
        print("see what was set aside: fivefold quarantine SOURCE")


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="A noun (table, view, model, …), or run, version, job, prediction, snapshot, alias, audit."
        ),
    ],
    limit: Annotated[int, typer.Option(help="How many at most, the newest first.")] = 50,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """List things of one kind: what the project declares, or what it did."""
    from fivefold.mlops.listing import rows_of_kind

    with workspace(project, env) as opened:
        found = rows_of_kind(opened, kind, limit)
    if json:
        emit(found)
    else:
        columns = list(found[0]) if found else []
        shown = [c for c in columns if not any(isinstance(r.get(c), dict | list) and r.get(c) for r in found)]
        table(f"{kind}", shown, [[r.get(c) for c in shown] for r in found])


def infer(
    source: Annotated[str, typer.Argument(help="A table or view.")],
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Propose checks for a source from what its data shows, as Python to paste into its `checks=`."""
    from fivefold.mlops.listing import proposed_checks

    with workspace(project, env) as opened:
        for line in proposed_checks(opened, source):
            print(line)


def quarantine(
    source: Annotated[str, typer.Argument(help="A table or view.")],
    limit: Annotated[int, typer.Option(help="How many rows at most.")] = 20,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Show rows that checks set aside: where they came from, why, and their original values."""
    from fivefold.mlops.listing import quarantined_rows

    with workspace(project, env) as opened:
        rows = quarantined_rows(opened, source, limit)
    if json:
        emit(rows)
    else:
        table(
            f"quarantined rows of {source}",
            ["source", "row", "reasons", "original"],
            [[r["source"], r["row"], "; ".join(r["reasons"]), r["original"]] for r in rows],
        )


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo project is made.")] = Path("demo"),
    speed: Annotated[
        float, typer.Option(help="Replay the last day so many times as fast as it was; 0: as fast as it goes.", min=0)
    ] = 0.0,
    fast: Annotated[bool, typer.Option("--fast", help="Two months of flights instead of twelve.")] = False,
    airlines: Annotated[
        bool, typer.Option("--airlines", help="And sixteen airlines train a model together, each a process.")
    ] = False,
) -> None:
    """Run the flights project from raw data to a served and scored model, on 336,776 real flights, with a report."""
    from fivefold.cli.session import actor
    from fivefold.demo.run import run

    if airlines:
        need_extra()
    run(folder, fast=fast, speed=speed, actor=actor())
    if airlines:
        from fivefold.demo.federation import show_airlines

        show_airlines(folder)


def _show(made: Plan) -> None:
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False, soft_wrap=True)
    for d in made.data:
        gone = f", {d.gone} gone or changed" if d.gone else ""
        out.print(f"{d.ref}: {d.new} new or changed partitions{gone}; fivefold apply reads them.")
    if made.empty:
        out.print(f"nothing to change in the declarations of {made.env} (revision {made.revision}).")
        return
    marks = {"added": "[green]+[/]", "changed": "[yellow]~[/]", "removed": "[red]-[/]"}
    counts = {c: sum(i.change == c for i in made.items) for c in marks}
    out.print(
        f"[bold]{counts['added']} added, {counts['changed']} changed, {counts['removed']} removed[/] in {made.env} "
        f"(revision {made.revision})"
    )
    for item in made.items:
        out.print(f"  {marks[item.change]} {item.ref}")
        for f in item.fields:
            out.print(escape(f"      {f.field}: {_short(f.old)} -> {_short(f.new)}"))
    if made.rebuilds:
        out.print("\n[bold]what stands on it[/]")
    for r in made.rebuilds:
        cost = ", ".join(
            [
                *([f"{r.rows:,} rows"] if r.rows is not None else []),
                *([f"took {duration_text(r.seconds)} last time"] if r.seconds is not None else []),
            ]
        )
        why = "" if r.because == (r.ref,) else f" [dim](because of {escape(', '.join(r.because))})[/]"
        out.print(f"  {r.ref}: {escape(r.action)}{f' ({cost})' if cost else ''}{why}")
    out.print("\nRun [bold]fivefold apply[/] to carry it out.")


def _short(value: object) -> str:
    import msgspec

    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 90 else text[:87] + "..."
