"""Versions are released: the champion moves through its gates, back, or to what it was at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from fivefold.catalog.aliases import AliasChange
from fivefold.catalog.versions import Version
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.learning import Model
from fivefold.core.time import iso
from fivefold.lifecycle.judge import Verdict, judge_version
from fivefold.ports.copies import copy_blob, copy_tree
from fivefold.workspace import Workspace
from fivefold.workspace.applied import require_applied

CHAMPION = "champion"
ROLLBACK = "rollback from version "


class Release(msgspec.Struct, frozen=True):
    """What a promotion came to: the version, whether it is champion now, and every gate's decision."""

    model: str
    version: int
    champion: bool
    before: int | None
    reason: str
    verdict: Verdict


def parse_version(text: str) -> tuple[str, int | str | None]:
    """`late@3` is version 3, `late@champion` an alias, `late` the newest. Raises Invalid for anything else."""
    name, at, rest = text.partition("@")
    if not name or (at and not rest):
        raise Invalid(f"{text!r} does not name a version.", hint="Write MODEL@NUMBER, for instance late@3.")
    if not at:
        return name, None
    return name, int(rest) if rest.isdigit() else rest


def find_version(workspace: Workspace, text: str) -> Version:
    """The version a text names. Raises NotFound with what there is."""
    name, which = parse_version(text)
    workspace.project.get(Model.kind, name)
    found = workspace.catalog.versions.list(name)
    if not found:
        raise NotFound(f"the model {name!r} has no version yet.", hint=f"Run `fivefold train {name}`.")
    if which is None:
        return found[0]
    if isinstance(which, str):
        number = workspace.catalog.aliases.current(name, which)
        if number is None:
            raise NotFound(f"{name}@{which} points to no version.", hint=f"Run `fivefold promote {name}`.")
        which = number
    return workspace.catalog.versions.get(name, which)


def put_on_trial(workspace: Workspace, version: Version, role: str) -> Release:
    """Make a version `canary` or `shadow` if it passes the model's gates: endpoints that roll out so try it.

    Raises Conflict when somebody moved the alias meanwhile, Invalid for the champion itself.
    """
    aliases = workspace.catalog.aliases
    held = aliases.current(version.model, CHAMPION)
    if held is None or held == version.number:
        raise Invalid(
            f"{version.model}@{version.number} "
            + ("is champion already." if held else "has no champion to be compared with."),
            hint=f"Run `fivefold promote {version.model}`." if held is None else "Name another version.",
        )
    verdict = judge_version(workspace, version, held)
    if version.run_id is not None:
        workspace.catalog.runs.log(version.run_id, tags=verdict.tags())
    if verdict.passed:
        aliases.move(
            version.model,
            role,
            version.number,
            expected=aliases.current(version.model, role),
            actor=workspace.actor,
            reason=verdict.reason,
            decision=msgspec.to_builtins(verdict),
        )
    return Release(version.model, version.number, False, held, verdict.reason, verdict)


def promote(workspace: Workspace, version: Version, *, verdict: Verdict | None = None) -> Release:
    """Make a version champion if it passes the model's gates; every decision is recorded either way.

    Raises Conflict when somebody moved the champion meanwhile.
    """
    held = workspace.catalog.aliases.current(version.model, CHAMPION)
    if held == version.number:
        return Release(
            version.model, version.number, True, held, "it is champion already", verdict or Verdict(True, ())
        )
    if workspace.catalog.definitions.revision():
        # gates that were only written down decide nothing
        require_applied(workspace, [f"{Model.kind}:{version.model}"])
    verdict = verdict or judge_version(workspace, version, held)
    if version.run_id is not None:
        workspace.catalog.runs.log(version.run_id, tags=verdict.tags())
    if not verdict.passed:
        return Release(version.model, version.number, False, held, verdict.reason, verdict)
    try:
        workspace.catalog.aliases.move(
            version.model,
            CHAMPION,
            version.number,
            expected=held,
            actor=workspace.actor,
            reason=verdict.reason,
            decision=msgspec.to_builtins(verdict),
        )
    except Conflict:
        # two that trained the same version at once promote it at once: either may be the first
        if workspace.catalog.aliases.current(version.model, CHAMPION) != version.number:
            raise
    return Release(version.model, version.number, True, held, verdict.reason, verdict)


def was_judged(workspace: Workspace, version: Version) -> bool:
    """Whether the gates of a version were ever decided."""
    return version.run_id is None or "gates" in workspace.catalog.runs.get(version.run_id).tags


def rollback(workspace: Workspace, model: str) -> AliasChange:
    """Point the champion to the version that was champion before. Raises NotFound when there was none."""
    workspace.project.get(Model.kind, model)
    changes = history(workspace, model)
    if not changes:
        raise NotFound(f"{model} never had a champion.", hint=f"Run `fivefold train {model}`.")
    now = workspace.catalog.aliases.current(model, CHAMPION)
    # releases lie on each other; a rollback takes the top one off, so going back twice goes back two
    stack: list[int | None] = []
    for change in changes:
        if change.reason.startswith(ROLLBACK):
            stack.pop()
        else:
            stack.append(change.version)
    if len(stack) < 2:
        raise NotFound(
            f"{model}@champion is version {now}, its first release: there is nothing to go back to.",
            hint=f"See `fivefold history {model}`, and `fivefold restore {model} --at TIME`.",
        )
    return workspace.catalog.aliases.move(
        model, CHAMPION, stack[-2], expected=now, actor=workspace.actor, reason=f"{ROLLBACK}{now}"
    )


def restore(workspace: Workspace, model: str, at: int) -> AliasChange | None:
    """Point the champion to what it was at a moment (microseconds UTC); None when it is that already.

    Raises NotFound when there was no champion then.
    """
    workspace.project.get(Model.kind, model)
    then = workspace.catalog.aliases.at(model, CHAMPION, at)
    if then is None or then.version is None:
        raise NotFound(f"{model} had no champion at {iso(at)}.", hint=f"See `fivefold history {model}`.")
    now = workspace.catalog.aliases.current(model, CHAMPION)
    if now == then.version:
        return None
    return workspace.catalog.aliases.move(
        model,
        CHAMPION,
        then.version,
        expected=now,
        actor=workspace.actor,
        reason=f"restore to what served at {iso(at)}",
    )


def history(workspace: Workspace, model: str) -> tuple[AliasChange, ...]:
    """Every change of a model's champion, oldest first."""
    workspace.project.get(Model.kind, model)
    return workspace.catalog.aliases.history(model, CHAMPION)


def carry_over(source: Workspace, target: Workspace, version: Version) -> Version:
    """Register a version of one environment in another: the package is copied, digest by digest, and nothing else.

    Raises Conflict when the other environment runs another project.
    """
    if source.project.name != target.project.name:
        raise Conflict(f"{target.env.name} belongs to the project {target.project.name!r}.")
    info: Any = dict(version.info) if isinstance(version.info, dict) else {}
    copy_tree(source.artifacts, target.artifacts, version.artifact)
    if info.get("judged_on"):
        copy_blob(source.artifacts, target.artifacts, info["judged_on"])
    info["carried_from"] = {"environment": source.env.name, "version": version.number, "run": version.run_id}
    return target.catalog.versions.register(
        version.model, version.key, artifact=version.artifact, info=info, actor=target.actor
    )
