"""Predictions are logged beside the hot path: a bounded queue, and a writer that empties it twenty times a second."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from fivefold.workspace.predictions import PREDICTIONS, Prediction, log_folder

LONGEST_QUEUE = 10_000
SEGMENT_BYTES = 64 << 20
PAUSE_SECONDS = 0.05
"""A writer that is woken for each prediction takes the interpreter away from the answers."""

_AT_ONCE = 32  # the interpreter is given back at each write, so that an answer waits half a millisecond at most

Entry = Callable[[], Prediction]
"""Makes a prediction's line, later and in another thread: what it closes over must not change."""


class PredictionLog:
    """Appends predictions as JSON lines to segments below a workspace's folder.

    What does not fit into the queue, or on the disk, is counted in `dropped`; `failed` says why the last write failed.
    """

    def __init__(self, state: Path, *, longest_queue: int = LONGEST_QUEUE, kind: str = PREDICTIONS) -> None:
        self._folder = log_folder(state, kind)
        self._waiting: deque[Entry] = deque()
        self._longest = longest_queue
        self._segment: Path | None = None
        self._size = 0
        self.dropped = 0
        self.failed = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prediction log", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Log a prediction; never waits."""
        if len(self._waiting) < self._longest:
            self._waiting.append(entry)
        else:
            self.dropped += 1

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        last = False
        while not last:
            last = self._over.wait(PAUSE_SECONDS)
            while self._waiting:
                entries = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                try:
                    self._write([entry() for entry in entries])
                    self.failed = ""
                except Exception as e:  # whatever happens to the log, requests are answered
                    self.dropped += len(entries)
                    self.failed = f"{type(e).__name__}: {e}"

    def _write(self, predictions: list[Prediction]) -> None:
        body = b"".join(_encode(p) + b"\n" for p in predictions)
        if self._segment is None or self._size > SEGMENT_BYTES:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._segment, self._size = self._folder / f"{predictions[0].at:020}-{os.getpid()}.jsonl", 0
        segment, self._segment = self._segment, None
        with segment.open("ab", buffering=0) as f:
            before = f.tell()
            try:
                written = f.write(body)
                while written < len(body):
                    written += f.write(body[written:])
            except OSError:
                # half a line must not stay where others are appended; where it cannot be removed, nothing more is
                f.truncate(before)
                self._segment = segment
                raise
        self._segment = segment
        self._size += len(body)


_encode = msgspec.json.Encoder().encode
