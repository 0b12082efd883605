"""The prediction log: what was answered, to whom it was asked about, by which version, from which values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec


class Prediction(msgspec.Struct, frozen=True):
    """One answer. Times are microseconds UTC; `features` holds (value, event time, status) by name."""

    id: str
    at: int
    endpoint: str
    model: str
    version: int
    key: str
    row: dict[str, Any]
    features: dict[str, tuple[Any, int | None, str]]
    as_of: dict[str, int]
    prediction: Any
    latency_us: int


def log_folder(state: Path) -> Path:
    """Where the segments of the log lie, named so that they sort by time."""
    return state / "log" / "predictions"


def read_predictions(state: Path, limit: int) -> list[dict[str, Any]]:
    """The newest predictions first; a line that a crash cut short is left out."""
    out: list[dict[str, Any]] = []
    for segment in sorted(log_folder(state).glob("*.jsonl"), reverse=True):
        for line in reversed(segment.read_bytes().splitlines()):
            if len(out) == limit:
                return out
            try:
                out.append(msgspec.json.decode(line, type=dict[str, Any]))
            except msgspec.DecodeError:
                continue
    return out
