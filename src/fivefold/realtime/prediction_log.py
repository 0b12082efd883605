"""Predictions are logged beside the hot path: a bounded queue and one writer; a full queue drops and counts."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from fivefold.workspace.predictions import Prediction, log_folder

LONGEST_QUEUE = 10_000
SEGMENT_BYTES = 64 << 20
_AT_ONCE = 500

Entry = Callable[[], Prediction]
"""Makes a prediction's line, later and in another thread: what it closes over must not change."""


class PredictionLog:
    """Appends predictions as JSON lines to segments below a workspace's folder.

    What does not fit into the queue, or on the disk, is counted in `dropped`; `failed` says why the last write failed.
    """

    def __init__(self, state: Path, *, longest_queue: int = LONGEST_QUEUE) -> None:
        self._folder = log_folder(state)
        self._queue: queue.Queue[Entry | None] = queue.Queue(longest_queue)
        self._segment: Path | None = None
        self._size = 0
        self.dropped = 0
        self.failed = ""
        self._thread = threading.Thread(target=self._work, name="prediction log", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Log a prediction; never waits."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            taken = [self._queue.get()]
            while len(taken) < _AT_ONCE and taken[-1] is not None and not self._queue.empty():
                taken.append(self._queue.get())
            entries = [e for e in taken if e is not None]
            try:
                if entries:
                    self._write([entry() for entry in entries])
                    self.failed = ""
            except Exception as e:  # whatever happens to the log, requests are answered
                self.dropped += len(entries)
                self.failed = f"{type(e).__name__}: {e}"
            if taken[-1] is None:
                return

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
