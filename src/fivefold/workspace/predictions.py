"""The prediction log: what was answered, to whom it was asked about, by which version, from which values.

Below its folder, `*.jsonl` are segments that are being written, or wait to become the Parquet files
`ENDPOINT/DAY/FIRST-LAST-SEGMENT.parquet`. While a segment is there it counts, and not what was made of it already: it
is removed when all of that is in place. So each prediction is read once, whenever a process was killed.
"""

from __future__ import annotations

import heapq
import mmap
import os
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from fivefold.core.errors import Invalid, NotFound, Unavailable
from fivefold.core.time import iso
from fivefold.workspace.prediction_files import FileName, Prediction, backwards, day_of, one_of

__all__ = [
    "LOOKUPS",
    "PREDICTIONS",
    "Prediction",
    "find_prediction",
    "log_folder",
    "newest_predictions",
    "read_predictions",
]

PREDICTIONS, LOOKUPS = "predictions", "lookups"
"""What is logged: answers of endpoints, and features that were asked for without one."""

_BLOCK = 1 << 18
_NEWLINE = 10
_ATTEMPTS = 20
_NEVER = 2**63 - 1
_ID = re.compile(r"([pl])([0-9a-f]{14})[0-9a-f]{16}")
_T = TypeVar("_T")


def log_folder(state: Path, kind: str = PREDICTIONS) -> Path:
    """Where a log lies; each of its segments is written by one process, in order of time."""
    return state / "log" / kind


def newest_predictions(state: Path, limit: int, kind: str = PREDICTIONS) -> list[Prediction]:
    """The newest predictions first, of all processes; a line that a crash cut short is left out.

    Raises Unavailable when the log changes faster than it can be read.
    """
    return _steady(lambda: list(islice(_newest_first(log_folder(state, kind)), limit)))


def read_predictions(state: Path, limit: int) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [msgspec.to_builtins(found) for found in newest_predictions(state, limit)]


def find_prediction(state: Path, id: str) -> Prediction:
    """The prediction (`p…`) or look-up of features (`l…`) of an id: it says when it was made, so few files are read.

    Raises Invalid for what is no id, NotFound for one that is not in the log, Unavailable when the log changes faster
    than it can be read.
    """
    named = _ID.fullmatch(id)
    if named is None:
        raise Invalid(
            f"{id[:80]!r} is no identifier of a prediction.",
            hint="One is `p` and 30 hexadecimal digits; answers carry theirs, `fivefold list predictions` shows them.",
        )
    at = int(named[2], 16)
    folder = log_folder(state, LOOKUPS if named[1] == "l" else PREDICTIONS)
    found = _steady(lambda: _find(folder, id, at))
    if found is None:
        raise NotFound(
            f"no prediction {id!r} of {_when(at)} in the log.",
            hint="It was removed when its time was over (`predictions_kept`, `predictions_bytes`), left out when the "
            "log could not keep up, cut short by a crash, or is another environment's (--env).",
        )
    return found


def _when(at: int) -> str:
    try:
        return iso(at)
    except OverflowError:
        return "a time beyond the calendar"


def _steady(read: Callable[[], _T]) -> _T:
    """What is read, from the start again when a segment became files, or files were removed, meanwhile."""
    for _ in range(_ATTEMPTS):
        try:
            return read()
        except FileNotFoundError:
            continue
    raise Unavailable("the prediction log changes faster than it can be read.", hint="Try again.")


class _Source(NamedTuple):
    last: int
    """No prediction in it is newer (µs UTC)."""
    read: Callable[[], Iterator[Prediction]]


def _newest_first(folder: Path) -> Iterator[Prediction]:
    # segments first: what becomes files between the two looks is then found in neither twice
    segments = sorted(folder.glob("*.jsonl"))
    there = {s.stem for s in segments}
    sources = [_Source(_NEVER, lambda s=segment: _backwards(s)) for segment in segments]  # type: ignore[misc]
    for path in folder.glob("*/*/*.parquet"):
        name = FileName.of(path)
        if name.segment not in there:
            sources.append(_Source(name.last, lambda p=path: backwards(p)))  # type: ignore[misc]
    yield from _merged(sorted(sources, key=lambda s: s.last))


def _merged(sources: list[_Source]) -> Iterator[Prediction]:
    """The newest of all sources first; a source is opened when what it holds may be next."""
    heads: list[tuple[int, int, Prediction, Iterator[Prediction]]] = []
    opened = 0
    while sources or heads:
        while sources and (not heads or sources[-1].last >= -heads[0][0]):
            rest = sources.pop().read()
            opened += 1
            if (head := next(rest, None)) is not None:
                heapq.heappush(heads, (-head.at, opened, head, rest))
        if not heads:
            return
        _, number, head, rest = heads[0]
        yield head
        if (head := next(rest, None)) is not None:
            heapq.heapreplace(heads, (-head.at, number, head, rest))
        else:
            heapq.heappop(heads)


def _find(folder: Path, id: str, at: int) -> Prediction | None:
    segments = sorted(folder.glob("*.jsonl"), reverse=True)
    for segment in segments:
        if (found := _in_segment(segment, id)) is not None:
            return found
    try:
        day = day_of(at)
    except OverflowError:
        return None
    for path in folder.glob(f"*/{day}/*.parquet"):
        name = FileName.of(path)
        if name.first <= at <= name.last and (found := one_of(path, id)) is not None:
            return found
    return None


def _in_segment(segment: Path, id: str) -> Prediction | None:
    with segment.open("rb") as f:
        if not os.fstat(f.fileno()).st_size:
            return None
        with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            start = -1
            # a row may have a field of that name and value: a prediction begins its line
            while (start := whole.find(b'{"id":"%s"' % id.encode(), start + 1)) > 0:
                if whole[start - 1] == _NEWLINE:
                    break
            if start < 0:
                return None
            end = whole.find(b"\n", start)
            try:
                return _decode(whole[start : end if end > 0 else len(whole)])
            except ValueError:
                return None


_decode = msgspec.json.Decoder(Prediction).decode


def _backwards(segment: Path) -> Iterator[Prediction]:
    for line in _lines(segment):
        try:
            yield _decode(line)
        except ValueError:
            continue


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file from its end, a block at a time: the file is closed while nobody asks for more."""
    end, rest = path.stat().st_size, b""
    while end:
        start = max(0, end - _BLOCK)
        with path.open("rb") as f:
            block = os.pread(f.fileno(), end - start, start)
        first, *whole = (block + rest).split(b"\n")
        yield from reversed(whole)
        end, rest = start, first
    yield rest
