"""Dead letters: what a stream brought and no view got, kept as it came, to be looked at and sent again."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from typing import NamedTuple

import msgspec

from fivefold.core.errors import Conflict, NotFound, Unavailable
from fivefold.core.sources import Stream
from fivefold.core.uses import Endpoint
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.ports.streams import Message
from fivefold.realtime.endpoints.endpoint import Live
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.realtime.streams.intake import REPLAY, Letter
from fivefold.realtime.streams.scoring import Scorer, scored_space
from fivefold.realtime.streams.worker import read_letter, write_letter
from fivefold.workspace import Workspace
from fivefold.workspace.events import LETTERS, intake_space, offset_key, read_standing, write_standing

_AT_ONCE = 500
_ATTEMPTS = 100


class Dead(NamedTuple):
    """A letter and where it is."""

    stream: str
    partition: int
    letter: Letter


def dead_letters(
    store: OnlineStore, stream: str, *, endpoint: str = "", reasons: Sequence[str] = (), replayed: bool = True
) -> Iterator[Dead]:
    """The letters of a stream, by partition and offset; of some reasons only, or only those not sent again yet.

    Those that its features did not take, or those that an `endpoint` could not answer.
    """
    space_of = partial(scored_space, endpoint) if endpoint else intake_space
    begins = space_of(stream, 0).removesuffix("0")
    spaces = [s for s in store.spaces() if s.startswith(begins)]
    for partition in sorted(int(s.rpartition(".")[2]) for s in spaces):
        for _, raw in store.scan(space_of(stream, partition), prefix=LETTERS):
            letter = read_letter(raw)
            if (not reasons or letter.reason in reasons) and (replayed or letter.replayed is None):
                yield Dead(stream, partition, letter)


def replay(
    workspace: Workspace, stream: Stream, chosen: Sequence[tuple[int, int]] = (), reasons: Sequence[str] = ()
) -> int:
    """Send letters to their partition again, as they came: those (partition, offset), or all that were not yet.

    A letter is sent again once: doing it twice, or going on after a kill, sends no event that would count twice.
    Returns how many were sent. Raises NotFound for a letter that is not there.
    """
    store, broker = workspace.online(), workspace.broker(stream)
    try:
        found = {(d.partition, d.letter.offset): d.letter for d in dead_letters(store, stream.name, reasons=reasons)}
        _require_there(chosen, found, stream.name)
        wanted = [place for place in (chosen or found) if found[place].replayed is None]
        for start in range(0, len(wanted), _AT_ONCE):
            for partition in sorted({p for p, _ in wanted[start : start + _AT_ONCE]}):
                letters = [found[p, o] for p, o in wanted[start : start + _AT_ONCE] if p == partition]
                broker.append([_message(partition, letter) for letter in letters], partition)
                _note(store, stream.name, partition, letters, workspace.clock())
        return len(wanted)
    finally:
        broker.close()
        store.close()


def answer_again(
    workspace: Workspace, endpoint: Endpoint, chosen: Sequence[tuple[int, int]] = (), reasons: Sequence[str] = ()
) -> tuple[int, int]:
    """Have an endpoint answer its dead letters again: those (partition, offset), or all that it has not answered since.

    The answers go where those of events go, behind what workers that run send; nothing is sent to the stream itself,
    whose features have had the events. Doing it twice, or going on after a kill, sends no answer twice. Gives how many
    were answered, and how many still cannot be. Raises NotFound for a letter that is not there, Unavailable while there
    is no champion.
    """
    assert endpoint.on is not None
    assert endpoint.into is not None
    on = endpoint.on
    with ExitStack() as opened:
        store = opened.enter_context(closing(workspace.online()))
        found = {(d.partition, d.letter.offset) for d in dead_letters(store, on.name, endpoint=endpoint.name)}
        _require_there(chosen, found, f"{on.name} --endpoint {endpoint.name}")
        letters = dead_letters(store, on.name, endpoint=endpoint.name, reasons=reasons, replayed=False)
        left = [(d.partition, d.letter.offset) for d in letters]
        wanted = [place for place in left if not chosen or place in set(chosen)]
        if not wanted:
            return 0, 0
        source = opened.enter_context(closing(workspace.broker(on)))
        target = opened.enter_context(closing(workspace.broker(endpoint.into)))
        log = opened.enter_context(closing(PredictionLog(workspace.state)))
        live = Live(workspace, endpoint, store, log)
        answered = 0
        for partition in sorted({p for p, _ in wanted}):
            offsets = [o for p, o in wanted if p == partition]
            scorer = Scorer(endpoint, partition, source, target, store, live, clock=workspace.clock)
            for start in range(0, len(offsets), _AT_ONCE):
                answered += _answered_again(scorer, offsets[start : start + _AT_ONCE])
        return answered, len(wanted) - answered


def _answered_again(scorer: Scorer, offsets: Sequence[int]) -> int:
    for _ in range(_ATTEMPTS):
        try:
            return scorer.again(offsets)
        except Conflict:
            scorer.refresh()  # a worker was faster
    raise Unavailable("the endpoint's worker is faster than its letters can be answered.", hint="Run it again.")


def _require_there(chosen: Sequence[tuple[int, int]], found: Container[tuple[int, int]], listed: str) -> None:
    for partition, offset in chosen:
        if (partition, offset) not in found:
            raise NotFound(
                f"no dead letter {partition}:{offset} of {listed.replace(' --', ', ')}.",
                hint=f"Run `fivefold dead-letters list {listed}`.",
            )


def _message(partition: int, letter: Letter) -> Message:
    others = tuple((name, value) for name, value in letter.headers if name != REPLAY)
    # by this the intake knows an event that is sent twice, should we be killed before it is noted
    return Message(letter.value, letter.key, (*others, (REPLAY, f"{partition}:{letter.offset}".encode())))


def _note(store: OnlineStore, stream: str, partition: int, letters: Sequence[Letter], now: int) -> None:
    """Write down that letters were sent again."""
    space = intake_space(stream, partition)
    items = [
        (offset_key(LETTERS, letter.offset), write_letter(msgspec.structs.replace(letter, replayed=now)))
        for letter in letters
    ]
    for _ in range(_ATTEMPTS):
        (raw,) = store.get([(space, MARK)])
        assert raw is not None, "a letter is written with its intake's mark"
        standing = read_standing(raw)
        mark = write_standing(msgspec.structs.replace(standing, changes=standing.changes + 1))
        try:
            store.commit([Write(space, items, mark, raw)])
            return
        except Conflict:
            continue  # the worker was faster
    raise Unavailable("the stream's worker commits faster than a replay can be noted.", hint="Run it again.")
