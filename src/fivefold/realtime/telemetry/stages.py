"""When a request reached each stage on its way, for those that are traced."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any


class Stages:
    """Moments of one request (`time.perf_counter_ns`), 0 for a stage that it did not come to.

    It is read from `began`, its handler starts at `admitted`; then it is decoded, taken up by a call (`called`),
    looked up, predicted, answered, and encoded at `ended`. `span` is whose it is.
    """

    __slots__ = ("admitted", "answered", "began", "called", "decoded", "ended", "looked_up", "predicted", "span")

    def __init__(self, span: Any = None) -> None:
        self.span = span
        self.began = time.perf_counter_ns()
        self.admitted = self.decoded = self.called = self.looked_up = self.predicted = self.answered = self.ended = 0

    def parts(self) -> list[tuple[str, int, int]]:
        """The stages it came to, in their order: name, begin and end."""
        moments = (
            ("admit", self.admitted),
            ("decode", self.decoded),
            ("wait", self.called),
            ("lookup", self.looked_up),
            ("model", self.predicted),
            ("log", self.answered),
            ("encode", self.ended),
        )
        out, before = [], self.began
        for name, moment in moments:
            if moment:
                out.append((name, before, moment))
                before = moment
        return out


def note(stage: str, many: Iterable[Stages]) -> None:
    """Requests have come to a stage, now, together."""
    now = time.perf_counter_ns()
    for stages in many:
        setattr(stages, stage, now)
