"""Commands of streams: stream, push, dead-letters, skew."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fivefold.cli.session import HERE, EnvOption, JsonOption, ProjectOption, emit, progress, table, workspace
from fivefold.core.errors import FivefoldError, Invalid, NotFound

if TYPE_CHECKING:
    from fivefold.core.sources import Stream as StreamNoun
    from fivefold.core.uses import Endpoint
    from fivefold.realtime.streams.streaming import Streaming
    from fivefold.workspace import Workspace

STATUS_SECONDS = 5.0
LOOK_SECONDS = 2.0
AGAIN_SECONDS = 1.0
WAIT_SECONDS = 0.02

letters = typer.Typer(no_args_is_help=True, help="Events that were set aside: look at them, send them again.")
StreamArgument = Annotated[str, typer.Argument(metavar="STREAM", help="A stream of the project.")]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    register = app.command(rich_help_panel="Use")
    register(stream)
    register(push)
    register(skew)
    app.add_typer(letters, name="dead-letters", rich_help_panel="Use")


def stream(
    names: Annotated[list[str] | None, typer.Argument(metavar="[STREAM]...", help="All, when none is named.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that share the partitions.", min=1, max=64)] = 1,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing waits; archive what was applied.")] = False,
    at: Annotated[
        str, typer.Option("--at", help="Views that are not materialised yet answer from this ISO 8601 time on; now.")
    ] = "",
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Apply events as they come to the features in the online store, and archive them into their history.

    Views that are not materialised yet are, first. It may be killed and started again at any time, here or elsewhere:
    no event is lost or counted twice. Ctrl-C ends it.
    """
    over = _until_told()
    if workers > 1:
        _bootstrap(project, env, at)
        flags = [flag for flag, given in (("--once", once), ("--json", json)) if given]
        _supervise(workers, [*(names or []), *flags], project, env, over)
        return
    _bootstrap(project, env, at)
    while not over.is_set():
        with workspace(project, env) as opened:
            if _work(opened, names or [], once, json, over):
                return
        print("the project was applied anew: going on with what it says now.", file=sys.stderr, flush=True)
        _bootstrap(project, env, at)


def push(
    name: StreamArgument,
    file: Annotated[Path, typer.Argument(help="JSON events, one a line; - for standard input.")] = Path("-"),
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Send events to a stream: each is checked against its schema; a bad one is refused by itself, with its line."""
    import msgspec

    from fivefold.core.sources import Stream
    from fivefold.realtime.streams.sending import Sender

    with workspace(project, env) as opened:
        noun = opened.project.get(Stream.kind, name)
        assert isinstance(noun, Stream)
        broker = opened.broker(noun)
        try:
            sender, sent, refused = Sender(noun, broker), 0, []
            lines = sys.stdin.buffer if str(file) == "-" else file.open("rb")
            with lines:
                for numbers, events in _batches(lines):
                    decoded: list[Any] = []
                    for line in events:
                        try:
                            decoded.append(msgspec.json.decode(line))
                        except msgspec.DecodeError:
                            decoded.append(line.decode(errors="replace"))
                    for number, error in zip(numbers, sender.send(decoded), strict=True):
                        sent += error is None
                        if error is not None:
                            refused.append({"line": number, "error": error.message, "hint": error.hint})
        finally:
            broker.close()
    if json:
        emit({"sent": sent, "refused": refused})
    else:
        for one in refused[:20]:
            print(f"line {one['line']}: {one['error']} {one['hint']}".rstrip(), file=sys.stderr)
        if len(refused) > 20:
            print(f"… and {len(refused) - 20:,} more", file=sys.stderr)
        print(f"{sent:,} events sent to {name}" + (f", {len(refused):,} refused" if refused else "") + ".")
    if refused:
        raise typer.Exit(1)


def skew(
    endpoint: Annotated[str, typer.Option("--endpoint", help="Predictions of this one; of all by default.")] = "",
    sample: Annotated[int, typer.Option(help="How many predictions are computed again.", min=1)] = 1000,
    every: Annotated[str, typer.Option(help="Again and again, this long apart: 1h. Once, when left out.")] = "",
    seed: Annotated[int, typer.Option(help="Which predictions are picked.")] = 0,
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Compute logged predictions' features again, from archived rows alone, and count those that differ: it must be 0.

    The exit code is 1 when a value differs, or when there was none to compare.
    """
    from fivefold.core.time import SECOND, duration
    from fivefold.realtime.replay.skew import skew as run

    pause = duration(every, "--every") / SECOND if every else 0.0
    over = _until_told() if every else threading.Event()
    while True:
        with workspace(project, env) as opened:
            found = run(opened, sample=sample, endpoint=endpoint, seed=seed)
        if json:
            emit(found)
        else:
            rows: list[list[object]] = [[f.name, f.compared, f.differ, f"{f.rate:.2%}"] for f in found.features]
            table("", ["feature", "compared", "differ", "skew"], rows)
            for feature in found.features:
                for e in feature.examples:
                    print(
                        f"{feature.name} of {e.entity} as of {e.as_of}: served {e.served!r} (event {e.served_event}), "
                        f"history says {e.history!r} (event {e.history_event}); prediction {e.prediction}"
                    )
            for reason, count in found.left_out.items():
                print(f"left out, {count:,}: {reason}")
            print(f"{found.differ:,} of {found.compared:,} values of {found.predictions:,} predictions differ.")
        if not every:
            if found.differ or not found.compared:
                raise typer.Exit(1)
            return
        if over.wait(pause):
            return
        seed += 1


@letters.command("list")
def list_letters(
    name: StreamArgument,
    reason: Annotated[list[str] | None, typer.Option("--reason", help="Only of this reason (repeatable).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    endpoint: Annotated[
        str, typer.Option("--endpoint", help="Those that this endpoint could not answer, instead of the features'.")
    ] = "",
    json: JsonOption = False,
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Show dead letters: which record it was, why it was set aside, and the bytes as they came."""
    from itertools import islice

    from fivefold.core.sources import Stream
    from fivefold.core.time import iso
    from fivefold.core.uses import Endpoint
    from fivefold.core.values import shown
    from fivefold.realtime.streams.dead_letters import dead_letters

    with workspace(project, env) as opened:
        opened.project.get(Stream.kind, name)
        if endpoint:
            opened.project.get(Endpoint.kind, endpoint)
        store = opened.online()
        try:
            letters_of = dead_letters(store, name, endpoint=endpoint, reasons=_reasons(reason))
            found = list(islice(letters_of, limit))
        finally:
            store.close()
    if json:
        import base64

        emit(
            [
                {
                    "partition": d.partition,
                    "offset": d.letter.offset,
                    "reason": d.letter.reason,
                    "message": d.letter.message,
                    "arrived": iso(d.letter.arrived),
                    "replayed": None if d.letter.replayed is None else iso(d.letter.replayed),
                    "value_base64": base64.b64encode(d.letter.value).decode(),
                }
                for d in found
            ]
        )
        return
    rows: list[list[object]] = [
        [
            f"{d.partition}:{d.letter.offset}",
            d.letter.reason,
            d.letter.message,
            shown(d.letter.value),
            iso(d.letter.arrived)[:19],
            "yes" if d.letter.replayed is not None else "no",
        ]
        for d in found
    ]
    table("", ["letter", "reason", "why", "record", "arrived", "sent again"], rows)


@letters.command("replay")
def replay_letters(
    name: StreamArgument,
    letter: Annotated[
        list[str] | None, typer.Argument(metavar="[LETTER]...", help="PARTITION:OFFSET, as listed; all by default.")
    ] = None,
    reason: Annotated[list[str] | None, typer.Option("--reason", help="Only of this reason (repeatable).")] = None,
    endpoint: Annotated[str, typer.Option(help="Have this endpoint answer those that it could not answer.")] = "",
    project: ProjectOption = HERE,
    env: EnvOption = "dev",
) -> None:
    """Send dead letters to the stream again, as they came, once each: after a check or the schema was mended.

    With --endpoint they are answered by it again, once each, and nothing is sent to the stream.
    """
    from fivefold.core.sources import Stream
    from fivefold.realtime.streams.dead_letters import answer_again, replay

    chosen = []
    for text in letter or []:
        partition, _, offset = text.partition(":")
        if not (partition.isdigit() and offset.isdigit()):
            raise Invalid(f"{text!r} is not a letter.", hint="Write PARTITION:OFFSET, as `dead-letters list` shows it.")
        chosen.append((int(partition), int(offset)))
    with workspace(project, env) as opened:
        noun = opened.project.get(Stream.kind, name)
        assert isinstance(noun, Stream)
        if endpoint:
            _answer_again(*answer_again(opened, _answering(opened, noun, endpoint), chosen, _reasons(reason)), endpoint)
            return
        sent = replay(opened, noun, chosen, _reasons(reason))
    print(f"{sent:,} letters sent to {name} again." if sent else "nothing to send: none is left that was not yet.")


def _answer_again(answered: int, left: int, endpoint: str) -> None:
    if not answered and not left:
        print("nothing to answer: none is left that was not yet.")
        return
    print(f"{answered:,} letters answered by {endpoint}." + (f" {left:,} still cannot be." if left else ""))


def _answering(opened: Workspace, stream: StreamNoun, name: str) -> Endpoint:
    """An endpoint that answers a stream. Raises NotFound for another."""
    from fivefold.core.uses import Endpoint

    found = [e for e in opened.project.of(Endpoint.kind) if isinstance(e, Endpoint) and e.on is stream]
    for one in found:
        if one.name == name:
            return one
    raise NotFound.named(f"endpoint on {stream.ref}", name, [e.name for e in found])


def _reasons(given: list[str] | None) -> list[str]:
    from fivefold.core.errors import did_you_mean
    from fivefold.realtime.streams.intake import Reason

    known = [str(r) for r in Reason]
    for one in given or []:
        if one not in known:
            raise Invalid(
                f"--reason {one!r} is not known (accepted: {', '.join(known)}).", hint=did_you_mean(one, known)
            )
    return given or []


def _batches(lines: Any) -> Any:
    numbers: list[int] = []
    events: list[bytes] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            numbers.append(number)
            events.append(line)
        if len(events) == 1000:
            yield numbers, events
            numbers, events = [], []
    if events:
        yield numbers, events


def _until_told() -> threading.Event:
    """Set by SIGTERM or Ctrl-C: what is under way is committed first."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    return over


def _bootstrap(project: Path, env: str, at: str) -> None:
    """Make the past of views that have none in the store yet."""
    from fivefold.core.time import instant
    from fivefold.mlops.materialise import materialise_missing

    with workspace(project, env) as opened, progress() as show:
        for made in materialise_missing(opened, instant(at, "--at") if at else opened.clock(), progress=show):
            print(f"{made.view}: the past of {made.entities:,} entities is in the online store.", file=sys.stderr)


def _work(opened: Workspace, names: list[str], once: bool, json: bool, over: threading.Event) -> bool:
    """Work on streams until told to stop; False when the project was applied anew meanwhile."""
    from fivefold.realtime.garbage import settled
    from fivefold.realtime.streams.streaming import Streaming

    revision = opened.catalog.definitions.revision()
    with Streaming(opened, names) as streaming, settled():
        if once:
            while not over.is_set() and (streaming.step(WAIT_SECONDS) or streaming.waiting()):
                pass
            streaming.archive()
            _say(streaming, json)
            return True
        changed, done = threading.Event(), threading.Event()  # what ends the work, and what ends the watching

        def watch() -> None:
            told = time.monotonic()
            while not done.wait(LOOK_SECONDS) and not changed.is_set():
                try:
                    if opened.catalog.definitions.revision() != revision:
                        changed.set()
                    if time.monotonic() - told > STATUS_SECONDS:
                        told = time.monotonic()
                        _say(streaming, json)
                except FivefoldError:
                    continue  # catalog or broker are away: the worker goes on, and says so itself

        watcher = threading.Thread(target=watch, name="watch", daemon=True)
        watcher.start()
        threading.Thread(target=_pass_on, args=(over, changed), name="end", daemon=True).start()
        streaming.run(changed, lambda text: print(text, file=sys.stderr, flush=True))
        done.set()
        watcher.join()
        if over.is_set():
            streaming.archive()
            _say(streaming, json)
    return over.is_set()


def _pass_on(first: threading.Event, second: threading.Event) -> None:
    first.wait()
    second.set()


def _say(streaming: Streaming, json: bool) -> None:
    import msgspec

    from fivefold.core.time import moment
    from fivefold.workspace.events import NEVER

    for report in streaming.reports():
        if json:
            print(msgspec.json.encode(report).decode(), flush=True)
            continue
        every = list(report.standings.values())
        newest, lost = max((s.newest for s in every), default=NEVER), sum(s.lost for s in every)
        print(
            f"{report.stream}: {sum(s.read for s in every):,} read, {sum(s.on_time + s.late for s in every):,} applied "
            f"({sum(s.late for s in every):,} out of order), {sum(s.duplicate for s in every):,} duplicates, "
            f"{sum(s.dead for s in every):,} dead letters, {report.waiting:,} waiting"
            + (f", {lost:,} LOST: the broker removed them before they were read" if lost else "")
            + ("" if newest == NEVER else f"; newest event {moment(newest)}"),
            flush=True,
        )
    for answers in streaming.answered():
        if json:
            print(msgspec.json.encode(answers).decode(), flush=True)
            continue
        parts = list(answers.partitions.values())
        lost = sum(p.lost for p in parts)
        print(
            f"endpoint {answers.endpoint}: {sum(p.read for p in parts):,} read, "
            f"{sum(p.answered for p in parts):,} answered, {sum(p.dead for p in parts):,} dead letters, "
            f"{answers.waiting:,} waiting"
            + (f", {lost:,} LOST: the broker removed them before they were answered" if lost else ""),
            flush=True,
        )


def _supervise(count: int, arguments: list[str], project: Path, env: str, over: threading.Event) -> None:
    """Keep so many workers running; one that dies is started again, and the others have its share meanwhile."""
    command = [sys.executable, "-m", "fivefold.cli.main", "stream", *arguments, "--project", str(project), "--env", env]
    children: dict[int, subprocess.Popen[bytes]] = {}
    finished: set[int] = set()
    try:
        while not over.is_set() and len(finished) < count:
            for number in range(count):
                child = children.get(number)
                if number in finished:
                    continue
                if child is not None and child.poll() == 0:
                    finished.add(number)
                elif child is None or child.poll() is not None:
                    if child is not None:
                        print(f"worker {number} ended with {child.returncode}: started again.", file=sys.stderr)
                        over.wait(AGAIN_SECONDS)
                    children[number] = subprocess.Popen(command)
            over.wait(0.2)
    finally:
        for child in children.values():
            if child.poll() is None:
                child.terminate()
        for child in children.values():
            child.wait()
