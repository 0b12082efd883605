"""What is counted while requests are answered: cheap enough for each of them, and added up when somebody looks."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence

LATENCIES = tuple(
    int(milliseconds * 1_000_000)
    for milliseconds in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
)
"""Upper bounds of latencies, in nanoseconds."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 10_000)
"""Upper bounds of rows of a call."""
ANSWERED, ROWS_FAILED, FAILED = range(3)
"""What became of a request that a version took up: all rows answered, some, none."""
MOST_PATTERNS = 64


class Histogram:
    """Counts of values by upper bounds, one count more for what is above all of them, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def add(self, value: int) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Tally:
    """What one version answered. Requests may be added from any thread."""

    __slots__ = ("_lock", "_patterns", "_places", "latency", "outcomes", "rows", "rows_failed")

    def __init__(self) -> None:
        self.outcomes = [0, 0, 0]
        self.rows = self.rows_failed = 0
        self.latency = Histogram(LATENCIES)
        """Nanoseconds from when a request was read to its answer, before that is encoded."""
        self._patterns: dict[tuple[str, ...], int] = {}
        self._places: list[dict[str, int]] = []
        self._lock = threading.Lock()

    def add(self, took: int, rows: int, failed: int, statuses: Sequence[Sequence[str]]) -> None:
        """A request was answered: nanoseconds, rows, those that failed, and the feature statuses of the others."""
        latency, patterns = self.latency, self._patterns
        # what `Histogram.add` does: a call costs as much as all of this
        place = bisect_left(LATENCIES, took)
        with self._lock:
            self.outcomes[ANSWERED if not failed else FAILED if failed == rows else ROWS_FAILED] += 1
            self.rows += rows
            self.rows_failed += failed
            latency.counts[place] += 1
            latency.total += took
            for each in statuses:
                # rows whose features have the same statuses are counted together: there are few such patterns
                pattern = tuple(each)
                if pattern in patterns:
                    patterns[pattern] += 1
                else:
                    patterns[pattern] = 1
                    if len(patterns) > MOST_PATTERNS:
                        self._fold()

    def features(self) -> list[dict[str, int]]:
        """By feature, in the model's order, how many rows had it in which status."""
        with self._lock:
            self._fold()
            return [dict(counts) for counts in self._places]

    def _fold(self) -> None:
        for pattern, count in self._patterns.items():
            while len(self._places) < len(pattern):
                self._places.append({})
            for place, status in zip(self._places, pattern, strict=False):
                place[status] = place.get(status, 0) + count
        self._patterns.clear()


class Uncounted(Tally):
    """Counts into another one all but features."""

    def __init__(self, into: Tally) -> None:
        super().__init__()
        self._into = into

    def add(self, took: int, rows: int, failed: int, statuses: Sequence[Sequence[str]]) -> None:
        """A request was answered: nanoseconds, rows, those that failed."""
        self._into.add(took, rows, failed, ())


class Tallies:
    """What each version answered since the server started, by number."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Tally, Sequence[str]]] = {}

    def of(self, version: int, names: Sequence[str]) -> Tally:
        """The tally of a version, whose features have these names."""
        found = self._held.get(version)
        if found is not None and found[1] is not names and found[1] != names:
            # with a step of another version, on trial, there are other features, which would be taken for these
            return Uncounted(found[0])
        # two threads may make one at once: one of them stays
        return (found or self._held.setdefault(version, (Tally(), names)))[0]

    def all(self) -> list[tuple[int, Tally, Sequence[str]]]:
        """Each version with its tally and the names of its features."""
        return [(version, tally, names) for version, (tally, names) in list(self._held.items())]
