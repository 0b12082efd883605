"""Predictions are logged beside the hot path: a bounded queue and one writer; a full queue drops and counts."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path

import msgspec

from fivefold.workspace.predictions import Prediction, log_folder

LONGEST_QUEUE = 10_000
SEGMENT_BYTES = 64 << 20


class PredictionLog:
    """Appends predictions as JSON lines to segments below a workspace's folder."""

    def __init__(self, state: Path) -> None:
        self._folder = log_folder(state)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._queue: queue.Queue[Prediction | None] = queue.Queue(LONGEST_QUEUE)
        self.dropped = 0
        self.failed = ""
        self._thread = threading.Thread(target=self._write, name="prediction log", daemon=True)
        self._thread.start()

    def put(self, prediction: Prediction) -> None:
        """Log a prediction; never waits. What does not fit into the queue is counted in `dropped`."""
        try:
            self._queue.put_nowait(prediction)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        encode = msgspec.json.Encoder().encode
        path, size = None, 0
        while True:
            item = self._queue.get()
            if item is None:
                return
            lines = [item]
            last = False
            while len(lines) < 500 and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    last = True
                    break
                lines.append(more)
            if path is None or size > SEGMENT_BYTES:
                path, size = self._folder / f"{item.at:020}-{os.getpid()}.jsonl", 0
            body = b"".join(encode(p) + b"\n" for p in lines)
            try:
                with path.open("ab") as f:
                    f.write(body)
                size += len(body)
            except OSError as e:
                self.dropped += len(lines)
                self.failed = str(e)
            if last:
                return
