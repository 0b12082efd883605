"""Where a prediction came from: why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, table, workspace

if TYPE_CHECKING:
    from fivefold.realtime.replay.recompute import Replay
    from fivefold.realtime.replay.why import Data, Origin, Why

DIFFERS = 1


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    app.command(rich_help_panel="Use")(why)


def why(
    prediction: Annotated[str, typer.Argument(metavar="PREDICTION", help="The id that an answer carries.")],
    replay: Annotated[
        bool, typer.Option("--replay", help="Compute it again from history and compare the bits.")
    ] = False,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Say where a prediction came from: version, who released it, run, code, data, feature values and their times.

    With --replay its features are computed again from the rows that had been seen, and the prediction by the packaged
    version: exit code 1 when anything differs.
    """
    from fivefold.realtime.replay.recompute import replay as compute
    from fivefold.realtime.replay.why import explain
    from fivefold.workspace.predictions import find_prediction

    with workspace(project, env) as opened:
        found = find_prediction(opened.state, prediction)
        told = explain(opened, found)
        again = compute(opened, found) if replay else None
    if json:
        emit(told if again is None else {"why": told, "replay": again})
    else:
        _show(told)
        if again is not None:
            _show_replay(again)
    if again is not None and not again.equal:
        raise typer.Exit(DIFFERS)


def _show(told: Why) -> None:
    import msgspec

    facts: list[list[object]] = [
        ["at", told.at],
        ["as of", told.as_of],
        ["row", msgspec.json.encode(told.row).decode()],
    ]
    if told.version is not None:
        facts[:0] = [["prediction", _shown(told.prediction)], ["endpoint", told.endpoint]]
        facts += [["latency", f"{told.latency_us / 1000:.2f} ms"], *_origin(told.version)]
    for member in told.members:
        facts += _origin(member)
    for rows in told.views:
        streamed = ", ".join(f"partition {p} up to {o}" for p, o in sorted(rows.applied.items()))
        facts.append([f"rows of {rows.view}", _snapshot(rows.data) + (f"; {streamed}" if streamed else "")])
    table(told.id, ["what", "value"], facts)
    print()
    columns = ["feature", "value", "status", "event_time"]
    table("", columns, [[f.name, _shown(f.value), f.status, f.event_time] for f in told.features])


def _origin(version: Origin) -> list[list[object]]:
    rows: list[list[object]] = [["version", f"{version.model}@{version.version}, key {version.key[:16]}"]]
    if (approval := version.approval) is not None:
        rows.append(["champion", f"since {approval.at} by {approval.by}: {approval.reason}"])
    if (trained := version.trained) is not None:
        rows.append(["trained", f"{trained.started} by {trained.by}, run {trained.run}"])
    if version.carried_from:
        rows.append(["carried from", f"{version.carried_from['environment']}@{version.carried_from['version']}"])
    rows.append(["code", f"commit {version.code.commit or '-'}, definition {version.code.definition[:16]}"])
    rows.append(["environment", ", ".join(f"{n} {v}" for n, v in version.environment.items())])
    rows += [["trained on", _snapshot(data)] for data in version.data]
    return rows


def _snapshot(data: Data) -> str:
    return f"{data.source}@{data.snapshot[:12]}" + (f" of {data.recorded}" if data.recorded else "")


def _shown(value: Any) -> str:
    """A value to its last digit."""
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _show_replay(again: Replay) -> None:

    print()
    if again.equal:
        print(f"computed again: {again.compared} features and the prediction are equal to the last bit.")
        return
    if again.changed:
        table(
            f"{len(again.changed)} of {again.compared} features differ",
            ["feature", "served", "of", "history", "of "],
            [
                [c.name, _shown(c.served), _time(c.served_event), _shown(c.history), _time(c.history_event)]
                for c in again.changed
            ],
        )
    print(f"prediction served: {_shown(again.served)}, computed again: {_shown(again.predicted)}")


def _time(micros: int | None) -> str | None:
    from fivefold.core.time import moment

    return None if micros is None else moment(micros)
