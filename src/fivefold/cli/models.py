"""Commands about models: train, promote, rollback, history, restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from fivefold.lifecycle.release import Release
    from fivefold.mlops.train import Trained

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model of the project.")]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    for command in (train, promote, rollback, history, restore):
        app.command(rich_help_panel="Models")(command)


def train(
    model: ModelArgument,
    release: Annotated[bool, typer.Option("--promote/--no-promote", help="Make it champion if its gates pass.")] = True,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Train a model on what is applied, measure it, package it, register the version, and let its gates decide.

    The same inputs (definitions, data, environment, seed) give the same version, and nothing is done. A training that
    was killed goes on where it was.
    """
    from fivefold.core.learning import Model
    from fivefold.lifecycle.release import promote as make_champion
    from fivefold.lifecycle.release import was_judged
    from fivefold.mlops import plan as plans
    from fivefold.mlops.train import train as learn

    with workspace(project, env) as opened, progress() as show:
        noun = opened.project.get("model", model)
        assert isinstance(noun, Model)
        trained = learn(opened, noun, plans.check(opened).schemas, progress=show, say=print)
        # a version that was registered and then interrupted has not been judged yet
        unjudged = trained.new or not was_judged(opened, trained.version)
        released = make_champion(opened, trained.version) if release and unjudged else None
    if json:
        emit({"version": trained.version, "new": trained.new, "warnings": trained.warnings, "release": released})
        return
    _show_version(trained)
    if released:
        _show_release(released)


def promote(
    version: Annotated[str, typer.Argument(metavar="MODEL[@VERSION]", help="late@3, or late for the newest.")],
    to: Annotated[str, typer.Option("--to", help="Carry the version over to this environment first.")] = "",
    canary: Annotated[bool, typer.Option("--canary", help="Let endpoints with ff.Canary(...) try it.")] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="Let endpoints with ff.Shadow() compare it.")] = False,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Make a version champion, if it passes the model's gates. Exit code 3 when it does not.

    With --canary it answers a share of the requests, and becomes champion, or goes back, by itself.
    """
    from fivefold.core.errors import Invalid
    from fivefold.lifecycle import release

    if canary or shadow:
        if to or (canary and shadow):
            raise Invalid("--canary, --shadow and --to do not go together.")
        role = "canary" if canary else "shadow"
        with workspace(project, env) as opened:
            tried = release.put_on_trial(opened, release.find_version(opened, version), role)
        if json:
            emit(tried)
        else:
            _show_trial(tried, role)
        if not tried.verdict.passed:
            raise typer.Exit(3)
        return
    with workspace(project, env) as opened:
        found = release.find_version(opened, version)
        if to and to != env:
            with workspace(project, to) as target:
                carried = release.carry_over(opened, target, found)
                if not json:
                    print(f"{found.model}@{found.number} of {env} is {carried.model}@{carried.number} in {to}.")
                made = release.promote(target, carried)
        else:
            made = release.promote(opened, found)
    if json:
        emit(made)
    else:
        _show_release(made)
    if not made.champion:
        raise typer.Exit(3)


def rollback(model: ModelArgument, project: ProjectOption = HERE, env: EnvOption = "dev") -> None:
    """Go back to the version that was champion before this one."""
    from fivefold.lifecycle import release

    with workspace(project, env) as opened:
        change = release.rollback(opened, model)
    print(f"{model}@champion is version {change.version} again ({change.reason}).")


def history(
    model: ModelArgument, json: JsonOption = False, project: ProjectOption = HERE, env: EnvOption = "dev"
) -> None:
    """What served when, with what result, moved by whom and why."""
    from fivefold.core.time import iso
    from fivefold.lifecycle import release

    with workspace(project, env) as opened:
        changes = release.history(opened, model)
        versions = {v.number: v for v in opened.catalog.versions.list(model)}
    if json:
        emit([{"change": c, "version": versions.get(c.version or 0)} for c in changes])
        return
    rows: list[list[object]] = []
    for i, c in enumerate(changes):
        until = iso(changes[i + 1].valid_from) if i + 1 < len(changes) else "now"
        held = versions.get(c.version or 0)
        rows.append([iso(c.valid_from), until, c.version, held.key[:12] if held else None, c.actor, c.reason])
    table(f"{model}@champion", ["from", "until", "version", "key", "by", "why"], rows)


def restore(
    model: ModelArgument,
    at: Annotated[str, typer.Option("--at", help="An ISO 8601 time, UTC unless it says.")],
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Make champion again what was champion at a time."""
    from fivefold.core.time import instant
    from fivefold.lifecycle import release

    with workspace(project, env) as opened:
        change = release.restore(opened, model, instant(at, "--at"))
        held = opened.catalog.aliases.current(model, release.CHAMPION)
    print(
        f"{model}@champion is version {held} already, as it was then."
        if change is None
        else f"{model}@champion is version {change.version} ({change.reason})."
    )


def _show_version(trained: Trained) -> None:
    version, info = trained.version, trained.version.info
    if not trained.new:
        print(f"{version.model}@{version.number} was made of the same inputs ({version.key[:12]}): nothing to do.")
        return
    rows = info["rows"]
    print(
        f"{version.model}@{version.number} ({version.key[:12]}) on {rows['train']:,} rows, tested on {rows['test']:,}, "
        f"in {duration_text(info['seconds'])}; predictor: {info['predictor']}."
    )
    table(
        "",
        ["metric", "value", "95 % interval"],
        [[n, m["value"], f"{m['low']:.4g} to {m['high']:.4g}"] for n, m in info["metrics"].items()],
    )
    for warning in trained.warnings:
        print(f"warning: {warning}")


def _show_trial(made: Release, role: str) -> None:
    for d in made.verdict.decisions:
        print(f"  {'passed' if d.passed else 'FAILED'}: {d.reason}")
    state = f"is {role} beside version {made.before}" if made.verdict.passed else "is not tried"
    print(f"{made.model}@{made.version} {state}.")


def _show_release(made: Release) -> None:
    for d in made.verdict.decisions:
        print(f"  {'passed' if d.passed else 'FAILED'}: {d.reason}")
    state = "is champion" if made.champion else "is not promoted"
    print(
        f"{made.model}@{made.version} {state}"
        + (f" (before: version {made.before})" if made.champion and made.before not in (None, made.version) else "")
        + "."
    )
