"""Predictions are logged beside the hot path: a bounded queue, a writer that empties it, and files made of that later.

The writer appends lines to a segment twenty times a second. Another thread makes Parquet files of the segments that are
full or five minutes old, of processes that are gone too, and removes what is kept no longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from fivefold.realtime.prediction_log.files import SWEEP_MICROSECONDS, LogFiles, wall_clock
from fivefold.realtime.prediction_log.sampling import Sampling
from fivefold.realtime.prediction_log.segment import Segment
from fivefold.workspace.predictions import PREDICTIONS, Prediction, log_folder

LONGEST_QUEUE = 10_000
SEGMENT_BYTES = 64 << 20
SEGMENT_SECONDS = 300.0
PAUSE_SECONDS = 0.05
"""A writer that is woken for each prediction takes the interpreter away from the answers."""

SYNC_SECONDS = 1.0
"""What was written is on the disk after this, should the power go; a killed process loses nothing of it."""

SETTLE_SECONDS = 3.0
"""How long making files may take when a server leaves; the next one does the rest."""

WARNING_SECONDS = 60.0
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 30.0

_AT_ONCE = 32  # the interpreter is given back at each write, so that an answer waits half a millisecond at most
_REST = 0.002
"""Between chunks that become columns, four times as long as one takes."""

_logger = logging.getLogger("fivefold.predictions")

Entry = Callable[[], Prediction]
"""Makes a prediction's line, later and in another thread: what it closes over must not change."""


class PredictionLog:
    """Appends predictions to segments below a workspace's folder, and makes Parquet files of those.

    While it cannot keep up, it keeps one of `every` so many. `left_out` counts what is not logged, by reason, `dropped`
    all of it; `failed` says why the last write failed. Files are kept for `kept_for` (µs), and `most_bytes` of them.
    """

    def __init__(
        self,
        state: Path,
        *,
        longest_queue: int = LONGEST_QUEUE,
        kind: str = PREDICTIONS,
        kept_for: int | None = None,
        most_bytes: int | None = None,
    ) -> None:
        self._folder = log_folder(state, kind)
        self._files = LogFiles(self._folder, kept_for=kept_for, most_bytes=most_bytes)
        self._waiting: deque[Entry] = deque()
        self._longest = longest_queue
        self._segment: Segment | None = None
        self._began = self._synced = 0.0
        self._unsynced = False
        self._sampling = Sampling()
        self._full = self._sampled = self._unwritten = self._unmade = 0
        self._warned: tuple[float, int] = (-WARNING_SECONDS, 0)
        self.written = 0
        """How many are in a segment: a process that is killed loses none of those."""
        self.failed = ""
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._work, "prediction log"), (self._make_files, "prediction files"))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def every(self) -> int:
        """One of so many is kept: 1 while all are."""
        return self._sampling.every

    @property
    def waiting(self) -> int:
        """How many wait to be written."""
        return len(self._waiting)

    @property
    def left_out(self) -> Mapping[str, int]:
        """How many are not logged, by reason."""
        return {
            "the queue was full": self._full,
            "sampled": self._sampled,
            "not written": self._unwritten,
            "no line could be made": self._unmade,
        }

    @property
    def dropped(self) -> int:
        """How many are not logged."""
        return self._full + self._sampled + self._unwritten + self._unmade

    def put(self, entry: Entry, id: str = "") -> None:
        """Log a prediction; never waits. By its identifier it is kept or not while only a sample is."""
        if self._sampling.every > 1 and not self._sampling.keeps(id):
            self._sampled += 1
        elif len(self._waiting) < self._longest:
            self._waiting.append(entry)
        else:
            self._full += 1

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Make files of what a closed log wrote, as far as that goes in a time; the rest is left to the next one."""
        until = time.monotonic() + seconds
        try:
            self._files.roll(lambda: time.monotonic() > until)
        except OSError as e:
            self._warn(f"files of the prediction log cannot be made: {e}")

    def _work(self) -> None:
        last = False
        while not last:
            last = self._over.wait(PAUSE_SECONDS)
            if len(self._waiting) <= self._longest // 8:
                self._sampling.easier()
            while self._waiting:
                if len(self._waiting) > self._longest // 2:
                    self._sampling.harder()
                self._log([self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))])
            self._settle_segment(last)
            self._say()

    def _log(self, entries: list[Entry]) -> None:
        try:
            body = _encode([entry() for entry in entries])
        except Exception as e:  # whatever happens to the log, requests are answered
            if len(entries) > 1:
                for entry in entries:
                    self._log([entry])
            else:
                self._unmade += 1
                self.failed = f"{type(e).__name__}: {e}"
            return
        try:
            self._append(body)
            self.written += len(entries)
            self.failed = ""
        except OSError as e:
            self._unwritten += len(entries)
            self.failed = f"{type(e).__name__}: {e}"
            self._sampling.harder()

    def _append(self, body: bytes) -> None:
        if self._segment is None:
            self._segment, self._began = Segment(self._folder, wall_clock()), time.monotonic()
        try:
            self._segment.append(body)
        finally:
            if self._segment.broken:
                self._segment.close()
                self._segment = None
        self._unsynced = True

    def _settle_segment(self, last: bool) -> None:
        """Bring to the disk what was written, and leave a segment that is full or old."""
        segment, now = self._segment, time.monotonic()
        if segment is None:
            return
        over = last or segment.size > SEGMENT_BYTES or now > self._began + SEGMENT_SECONDS
        try:
            if self._unsynced and (over or now > self._synced + SYNC_SECONDS):
                self._unsynced, self._synced = False, now
                segment.sync()
        except OSError as e:
            self.failed = f"{type(e).__name__}: {e}"
        if over:
            segment.close()
            self._segment = None

    def _say(self) -> None:
        at, counted = self._warned
        dropped = self.dropped
        if dropped > counted and time.monotonic() >= at + WARNING_SECONDS:
            self._warned = time.monotonic(), dropped
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self.left_out.items() if count)
            self._warn(f"{dropped} predictions were not logged ({reasons}); one of {self.every} is kept. {self.failed}")

    def _warn(self, message: str) -> None:
        _logger.warning("%s", message)

    def _make_files(self) -> None:
        swept = 0
        again = warned = -WARNING_SECONDS
        while not self._over.wait(LOOK_SECONDS):
            now = wall_clock()
            if time.monotonic() < again or not self._folder.is_dir():
                continue
            try:
                self._files.roll(lambda: self._over.wait(_REST))
                if now > swept + SWEEP_MICROSECONDS:
                    swept = now
                    self._files.sweep(now)
            except Exception as e:  # predictions are in their segments, and requests are answered
                again = time.monotonic() + AGAIN_SECONDS
                if time.monotonic() >= warned + WARNING_SECONDS:
                    warned = time.monotonic()
                    self._warn(f"files of the prediction log cannot be made: {type(e).__name__}: {e}")


_encode = msgspec.json.Encoder().encode_lines
