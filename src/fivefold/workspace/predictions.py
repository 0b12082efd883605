"""The prediction log: what was answered, to whom it was asked about, by which version, from which values."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from fivefold.features.lookup import Seen

_BLOCK = 1 << 18


class Prediction(msgspec.Struct, frozen=True):
    """One answer. Times are microseconds UTC; `features` holds (value, event time, status) by name.

    The features are as of `as_of`, made of the rows that `seen` says by feature view. A look-up of features has no
    model, and 0 for a version: its features are those of the project file as it was applied then.
    """

    id: str
    at: int
    endpoint: str
    model: str
    version: int
    key: str
    row: dict[str, Any]
    features: dict[str, tuple[Any, int | None, str]]
    as_of: int
    seen: dict[str, Seen]
    prediction: Any
    latency_us: int


PREDICTIONS, LOOKUPS = "predictions", "lookups"
"""What is logged: answers of endpoints, and features that were asked for without one."""


def log_folder(state: Path, kind: str = PREDICTIONS) -> Path:
    """Where the segments of a log lie; each is written by one process, in order of time."""
    return state / "log" / kind


def newest_predictions(state: Path, limit: int, kind: str = PREDICTIONS) -> list[Prediction]:
    """The newest predictions first, of all processes; a line that a crash cut short is left out."""
    newest_first = [_backwards(segment) for segment in sorted(log_folder(state, kind).glob("*.jsonl"))]
    return list(islice(heapq.merge(*newest_first, key=lambda p: -p.at), limit))


def read_predictions(state: Path, limit: int) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [msgspec.to_builtins(found) for found in newest_predictions(state, limit)]


def _backwards(segment: Path) -> Iterator[Prediction]:
    for line in _lines(segment):
        try:
            yield msgspec.json.decode(line, type=Prediction)
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
