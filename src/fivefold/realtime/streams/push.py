"""Events that clients send: each row is held to its stream's schema and checks, and what passes is appended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from fivefold.core.errors import Invalid, NotFound, Unsupported
from fivefold.core.project import Project
from fivefold.core.sources import Stream
from fivefold.features.fields import accepted
from fivefold.realtime.endpoints.rules import Rules


class EventLog(Protocol):
    """Where the events of one stream go."""

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep these, in order; when it returns they are kept. Raises Unavailable when they cannot be."""
        ...


OpenLog = Callable[[Stream], EventLog]


class Pushed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one row."""

    accepted: bool
    warnings: list[str] | None = None
    error: dict[str, str] | None = None


class _Intake:
    """One stream, ready to take rows."""

    def __init__(self, stream: Stream, log: EventLog) -> None:
        self._stream = stream
        self._rules = Rules(stream.checks, stream.schema)
        self.log = log

    def take(self, given: object) -> tuple[dict[str, Any], list[str]]:
        """A row as it is kept, and its warnings. Raises Invalid for one that the stream does not accept."""
        row = accepted(given, self._stream.schema)
        if row[self._stream.time] is None:
            raise Invalid(f"the field {self._stream.time!r} is null, and it is the event's time.")
        return row, self._rules.warnings(row)


class Push:
    """The streams of a project, open for events. `open_log` opens a stream's log when the first event comes."""

    def __init__(self, project: Project, open_log: OpenLog | None) -> None:
        self._streams = {s.name: s for s in project.of(Stream.kind) if isinstance(s, Stream)}
        self._open_log = open_log
        self._open: dict[str, _Intake] = {}
        self._opening = threading.Lock()

    def push(self, stream: str, rows: Sequence[object], *, all_or_none: bool = False) -> list[Pushed]:
        """Take rows, in order, and say what became of each; with `all_or_none` one that is refused refuses all.

        Raises NotFound for a stream that is not declared, Unavailable when its log does not take the rows.
        """
        intake = self._intake(stream)
        taken: list[dict[str, Any]] = []
        out: list[Pushed] = []
        for i, given in enumerate(rows):
            try:
                row, warnings = intake.take(given)
            except Invalid as e:
                if all_or_none:
                    raise Invalid(f"row {i}: {e.message} Nothing was taken.", hint=e.hint) from None
                out.append(Pushed(False, error={"message": e.message, "hint": e.hint}))
            else:
                taken.append(row)
                out.append(Pushed(True, warnings or None))
        if taken:
            intake.log.append(taken)
        return out

    def _intake(self, name: str) -> _Intake:
        stream = self._streams.get(name)
        if stream is None:
            raise NotFound.named("stream", name[:200], self._streams)
        if self._open_log is None:
            raise Unsupported("this server takes no events: it has no broker.")
        with self._opening:
            found = self._open.get(name)
            if found is None:
                found = self._open[name] = _Intake(stream, self._open_log(stream))
            return found
