"""How many requests may be under way at once, found from how latency reacts: Envoy's gradient."""

from __future__ import annotations

import math

LEAST = 16
MOST = 4096
SAMPLES = 50
"""Answers between two changes of the limit."""
BUFFER = 0.5
"""How much longer than the best latency is still fine."""
WINDOWS = 200
"""Changes after which the best latency is measured anew, because the machine or the model may have changed."""


class Gradient:
    """`limit` grows by its square root while latency stays near the best seen, and shrinks in proportion otherwise.

    The lower bound lets what is healthy through while the best latency is measured.
    """

    def __init__(self) -> None:
        self.limit = 64.0
        self._best = math.inf
        self._samples: list[int] = []
        self._windows = 0

    def add(self, took: int) -> None:
        """An answer took so many nanoseconds, waiting included."""
        self._samples.append(max(took, 1))
        if len(self._samples) < SAMPLES:
            return
        middle = sorted(self._samples)[SAMPLES // 2]
        self._samples.clear()
        self._windows += 1
        if self._windows % WINDOWS == 0:
            self._best, self.limit = math.inf, float(LEAST)
        self._best = min(self._best, middle)
        gradient = min(2.0, max(0.5, self._best * (1 + BUFFER) / middle))
        self.limit = min(float(MOST), max(float(LEAST), gradient * self.limit + math.sqrt(self.limit)))
