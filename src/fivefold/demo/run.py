"""The flights project, from raw data to a report: each stage says what it did, and does nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fivefold.batch.score import Scored, score
from fivefold.core.canonical import digest
from fivefold.core.errors import Invalid
from fivefold.core.learning import Model
from fivefold.core.sources import Stream
from fivefold.core.time import HOUR, instant
from fivefold.core.uses import BatchJob
from fivefold.data.snapshots import stretch_of
from fivefold.demo import measure
from fivefold.demo.flights import write_data
from fivefold.demo.report import write_report
from fivefold.demo.rollout import Rollouts, roll_out
from fivefold.demo.start import start
from fivefold.lifecycle.judge import judge_version
from fivefold.lifecycle.release import CHAMPION, promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import Outcome, apply
from fivefold.mlops.materialise import materialise_views
from fivefold.mlops.train import Trained, train
from fivefold.realtime.replay.skew import Skew, skew
from fivefold.realtime.streams.sending import Sender
from fivefold.workspace import Workspace, open_workspace
from fivefold.workspace.served import served

NOW = "2013-12-31T05:00:00Z"
"""The moment from which the demo answers: midnight in New York, before the last day's departures come as a stream."""

FAST_MONTHS = (9, 10, 11, 12)


class Stage(msgspec.Struct, frozen=True):
    """What one stage came to."""

    name: str
    seconds: float
    said: str
    new: bool


def run(folder: Path, *, fast: bool = False, speed: float = 0.0, actor: str = "demo") -> None:
    """Run every stage in `folder`, which afterwards is an ordinary project; write report.json and report.html there.

    The last day is replayed as fast as it goes, or `speed` times as fast as it was.
    """
    out = Console(highlight=False, soft_wrap=True)
    stages: list[Stage] = []
    began = time.monotonic()
    with _stages(out, stages) as stage:
        if not (folder / "fivefold.toml").exists():
            stage("data", "writing the flights of 2013 as raw files", lambda show: _begin(folder, fast))
        with open_workspace(folder, actor=actor) as workspace:
            outcome: Outcome = stage("apply", "reading, checking and deriving", lambda show: _apply(workspace, show))
            inputs = _inputs(workspace)
            report = folder / "report.json"
            known = msgspec.json.decode(report.read_bytes()) if report.exists() else {}
            if known.get("inputs") == inputs and (folder / "report.html").exists():
                out.print(
                    f"\nnothing new: the report is the one of before, {folder / 'report.html'}. "
                    f"[dim]({time.monotonic() - began:.1f} s)[/]"
                )
                return
            checked = plans.check(workspace)

            def learn(name: str) -> Callable[[Any], tuple[Any, str, bool]]:
                model = workspace.project.get(Model.kind, name)
                assert isinstance(model, Model)
                return lambda show: _train(workspace, model, checked, show)

            late: Trained = stage("train", "joining features as of each departure, fitting", learn("late"))
            _require_champion(workspace, late)
            baseline: Trained = stage("baseline", "a model of the departure delay alone", learn("by_delay"))
            stage("materialize", "feature values into the online store", lambda show: _materialise(workspace, show))
            scored: Scored = stage("score", "every flight of the last day", lambda show: _score(workspace, show))
            served_at: measure.Serving = stage(
                "stream",
                "the last day's departures, one after the other, and requests between them",
                lambda show: measure.replay(workspace, NOW, speed, show),
            )
            rolled: Rollouts = stage(
                "rollout",
                "a better version and a worse one, tried under load",
                lambda show: _roll_out(workspace, checked, late, show),
            )
            checked_skew: Skew = stage(
                "skew", "computing what was served again, from history", lambda show: _skew(workspace)
            )
            stage("apply", "views over what the stream brought", lambda show: _apply(workspace, show))
            began_measuring = time.monotonic()
            facts = _facts(workspace, outcome, late, baseline, scored, served_at, rolled, checked_skew, stages, inputs)
            measured = Stage("measure", round(time.monotonic() - began_measuring, 2), "figures of the report", True)
            facts["stages"].append(msgspec.to_builtins(measured))
            facts["seconds"] = round(time.monotonic() - began, 1)
            write_report(folder, facts)
    _conclude(out, folder, facts)


def _begin(folder: Path, fast: bool) -> tuple[None, str, bool]:
    start(folder, "flights")
    if fast:
        for path in (folder / "data" / "flights").glob("*.csv"):
            path.unlink()
        write_data(folder / "data", FAST_MONTHS)
    files = len(list((folder / "data").rglob("*.csv")))
    return None, f"{files} files in {folder / 'data'}", True


def _apply(workspace: Workspace, show: Any) -> tuple[Outcome, str, bool]:
    checked = plans.check(workspace)
    made = apply(workspace, checked, plans.plan(workspace), progress=show)
    new = sum(s.new_parts for s in made.sources)
    rows = {s.ref: s.rows for s in made.sources}
    return (
        made,
        (
            f"{rows['table:raw_flights']:,} flights, {new} partitions read or derived, "
            f"{sum(s.quarantined for s in made.sources)} rows set aside"
        ),
        bool(new or made.changed),
    )


def _train(workspace: Workspace, model: Model, checked: plans.Checked, show: Any) -> tuple[Trained, str, bool]:
    made = train(workspace, model, checked.schemas, progress=show)
    if made.new:
        promote(workspace, made.version)
    info: Any = made.version.info
    return (
        made,
        (
            f"{model.name}@{made.version.number}: auc {info['metrics']['auc']['value']:.3f} on "
            f"{info['rows']['test']:,} later flights"
        ),
        made.new,
    )


def _require_champion(workspace: Workspace, late: Trained) -> None:
    """Raise Invalid, with the gates' own words, when there is nothing to serve: no version has passed yet."""
    if workspace.catalog.aliases.current("late", CHAMPION) is None:
        refused = judge_version(workspace, late.version, None)
        raise Invalid(
            f"late@{late.version.number} did not pass its gates, so nothing can be served: {refused.reason}.",
            hint="Change the model or its gates in project.py, then run the demo again.",
        )


def _inputs(workspace: Workspace) -> str:
    """What a report is about: the declarations, and the files that were read. What a stream adds comes of these."""
    sources = {}
    for noun in workspace.project.of("table", "view"):
        held = workspace.find_snapshot(noun.name)
        sources[noun.name] = [p.digest for p in held.parts if stretch_of(p) is None] if held else []
    return digest("demo", {"project": workspace.project.digest, "sources": sources, "at": NOW})


def _roll_out(workspace: Workspace, checked: plans.Checked, late: Trained, show: Any) -> tuple[Rollouts, str, bool]:
    day, begin = measure.departures_of(workspace), instant(NOW)
    end = max(flight["departed_at"] for flight in day) + HOUR
    events = [{c: f[c] for c in measure.EVENT} for f in day if f["departed_at"] >= begin + measure.REPLAYED]
    stream = workspace.project.get(Stream.kind, "takeoffs")
    assert isinstance(stream, Stream)
    broker = workspace.broker(stream)
    try:
        made = roll_out(workspace, dict(checked.schemas), late.version, end, events, Sender(stream, broker), show)
    finally:
        broker.close()
    equal = measure.same_at_the_end(workspace, end)
    return msgspec.structs.replace(made[0], equal=equal), made[1], made[2]


def _skew(workspace: Workspace) -> tuple[Skew, str, bool]:
    found = skew(workspace)
    return found, f"{found.differ} of {found.compared:,} served values differ from history", True


def _materialise(workspace: Workspace, show: Any) -> tuple[None, str, bool]:
    made = materialise_views(workspace, [], instant(NOW), progress=show)
    return None, f"{sum(m.entities for m in made):,} entities in {len(made)} views", any(m.new for m in made)


def _score(workspace: Workspace, show: Any) -> tuple[Scored, str, bool]:
    job = workspace.project.get(BatchJob.kind, "tomorrow")
    assert isinstance(job, BatchJob)
    made = score(workspace, job, progress=show)
    return made, f"{made.manifest.rows_scored:,} rows in {made.folder}", made.new


def _facts(
    workspace: Workspace,
    outcome: Outcome,
    late: Trained,
    baseline: Trained,
    scored: Scored,
    served_at: measure.Serving,
    rolled: Rollouts,
    found: Skew,
    stages: list[Stage],
    inputs: str,
) -> dict[str, Any]:
    """Everything the report shows, as it was measured."""
    info: Any = late.version.info
    champion = workspace.catalog.aliases.current("late", CHAMPION)
    decision = next((c.decision for c in reversed(workspace.catalog.aliases.history("late", CHAMPION))), None) or {}
    return {
        "inputs": inputs,
        "project": workspace.project.name,
        "sources": msgspec.to_builtins(outcome.sources),
        "stages": msgspec.to_builtins(stages),
        "version": {
            "model": "late",
            "number": late.version.number,
            "key": late.version.key,
            "champion": champion,
            "rows": info["rows"],
            "predictor": info["predictor"],
            "candidates": info["candidates"],
            "seconds": info["seconds"],
        },
        "metrics": measure.against_baselines(workspace, late.version, baseline.version),
        "gates": decision.get("decisions", []),
        "importance": info["importance"],
        "calibration": measure.calibration(workspace, late.version),
        "serving": msgspec.to_builtins(served_at),
        "rollouts": msgspec.to_builtins(rolled),
        "skew": {"predictions": found.predictions, "compared": found.compared, "differ": found.differ},
        "scoring": measure.scoring_rate(workspace, served(workspace, late.version)),
        "scored": msgspec.to_builtins(scored.manifest) | {"files": len(scored.manifest.files)},
    }


Work = Callable[[Any], tuple[Any, str, bool]]
"""A stage: given a function to report progress to, it returns a result, a sentence, and whether anything was new."""


@contextmanager
def _stages(out: Console, done: list[Stage]) -> Iterator[Callable[[str, str, Work], Any]]:
    """A function that runs a stage with a progress bar and prints what it came to."""
    columns = (TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    def stage(name: str, doing: str, work: Work) -> Any:
        began = time.monotonic()
        with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bars:
            bar = bars.add_task(doing, total=None)

            def show(what: str, count: int, total: int) -> None:
                bars.update(bar, description=f"{doing}: {what}"[:44], completed=count, total=total)

            result, said, new = work(show)
        seconds = time.monotonic() - began
        done.append(Stage(name, round(seconds, 2), said, new))
        mark = "[green]✓[/]" if new else "[dim]=[/]"
        out.print(f"{mark} [bold]{name:12}[/] {said} [dim]({'' if new else 'nothing new, '}{seconds:.1f} s)[/]")
        return result

    yield stage


def _conclude(out: Console, folder: Path, facts: dict[str, Any]) -> None:
    metrics = Table(box=None, pad_edge=False, header_style="bold")
    names = list(facts["metrics"])
    metrics.add_column("on later flights")
    for name in names:
        metrics.add_column(name, justify="right")
    for metric in ("auc", "average_precision", "logloss", "brier"):
        metrics.add_row(metric, *[f"{facts['metrics'][n][metric]['value']:.4f}" for n in names])
    out.print()
    out.print(metrics)
    out.print()
    for gate in facts["gates"]:
        out.print(f"  {'[green]passed[/]' if gate['passed'] else '[red]failed[/]'}: {escape(gate['reason'])}")
    serving, scoring = facts["serving"], facts["scoring"]
    skewed = facts["skew"]
    out.print(
        f"\n{serving['events']:,} departures streamed at {serving['events_per_second']:,.0f} a second; "
        f"skew: {skewed['differ']} of {skewed['compared']:,} served values differ from history"
    )
    out.print(
        f"served {serving['requests']} requests over HTTP: p50 {serving['p50_ms']:.2f} ms, p99 "
        f"{serving['p99_ms']:.2f} ms; scored {scoring['rows_per_second']:,.0f} rows/s, features included"
    )
    out.print(
        Panel.fit(
            f"[bold]{folder / 'report.html'}[/]  the report; report.json beside it has the same figures\n\n"
            f"try next, in {folder}/:\n"
            "  change a window in project.py, then   fivefold plan   and   fivefold apply\n"
            "  fivefold train late                   a new version, judged against this one\n"
            "  fivefold history late                 what served when, and why\n"
            "  fivefold serve                        and the curl line it prints\n"
            "  fivefold list versions --json         everything a version was made of",
            title=f"done in {facts['seconds']:.0f} s",
            title_align="left",
        )
    )
