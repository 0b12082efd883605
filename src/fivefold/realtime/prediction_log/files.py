"""Segments of the prediction log become Parquet files, and what is too old or too much is removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from fivefold.core.time import MINUTE
from fivefold.realtime.prediction_log.segment import lines_of, sweep_abandoned, taken
from fivefold.workspace.prediction_files import CHUNK, FileName, sync_folder, write_files

MOST_SWEPT = 1000
"""Files that are removed in one go."""


class LogFiles:
    """The Parquet files of a log. What is older than `kept_for` (µs) is removed, and the oldest above `most_bytes`."""

    def __init__(self, folder: Path, *, kept_for: int | None = None, most_bytes: int | None = None) -> None:
        self._folder = folder
        self._kept_for = kept_for
        self._most_bytes = most_bytes

    def roll(self, pause: Callable[[], bool]) -> None:
        """Make files of every segment that nobody writes to, until `pause` says to stop; it is called all the time.

        Raises OSError where a file cannot be written: its segment stays, and nothing is lost or there twice.
        """
        for segment in sorted(self._folder.glob("*.jsonl")):
            with taken(segment) as mine:
                if not mine:
                    continue
                with closing(write_files(lines_of(segment, CHUNK), self._folder, segment.stem)) as writing:
                    for _ in writing:
                        if pause():
                            return
                # from here on the files count
                segment.unlink()
                sync_folder(self._folder)

    def sweep(self, now: int) -> int:
        """Remove what is too old at `now` (µs UTC), or too much; how many files that were, at most so many at once."""
        sweep_abandoned(self._folder)
        found = self._newest_first()
        oldest = None if self._kept_for is None else now - self._kept_for
        total, removed = 0, 0
        past = []
        for last, size, path in found:
            total += size
            if (oldest is not None and last < oldest) or (self._most_bytes is not None and total > self._most_bytes):
                past.append(path)
        for path in reversed(past):
            if removed >= MOST_SWEPT:
                break
            removed += self._remove(path)
        return removed

    def _newest_first(self) -> list[tuple[int, int, Path]]:
        """Every file and segment, with its last moment and its size."""
        found = []
        for path in [*self._folder.glob("*/*/*.parquet"), *self._folder.glob("*.jsonl")]:
            try:
                about = path.stat()
            except FileNotFoundError:
                continue
            last = FileName.of(path).last if path.suffix == ".parquet" else about.st_mtime_ns // 1000
            found.append((last, about.st_size, path))
        return sorted(found, reverse=True)

    def _remove(self, path: Path) -> int:
        if path.suffix == ".parquet":
            path.unlink(missing_ok=True)
            for folder in (path.parent, path.parent.parent):
                try:
                    folder.rmdir()
                except OSError:
                    break  # it is not empty
            return 1
        with taken(path) as mine:
            if mine:
                path.unlink()
        return int(mine)


SWEEP_MICROSECONDS = MINUTE


def wall_clock() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000
