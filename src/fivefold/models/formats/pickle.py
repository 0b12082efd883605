"""Pickles, which run code when loaded: only for models that are explicitly trusted, and in a process of their own."""

from __future__ import annotations

import atexit
import pickle
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fivefold.core.errors import Invalid, Unavailable
from fivefold.models.fitted import Predict

PATIENCE = 60.0
"""Seconds a worker may take to load, or to answer."""

_WORKER = """
import io, pickle, struct, sys
import numpy as np
answers, sys.stdout = sys.stdout.buffer, sys.stderr
for place in sys.argv[2:]:
    sys.path.insert(0, place)
def say(kind, body):
    answers.write(struct.pack("<cQ", kind, len(body)) + body)
    answers.flush()
try:
    with open(sys.argv[1], "rb") as f:
        model = pickle.load(f)
    say(b"r", b"")
    while head := sys.stdin.buffer.read(8):
        body = sys.stdin.buffer.read(struct.unpack("<Q", head)[0])
        out = io.BytesIO()
        try:
            np.save(out, np.asarray(model.predict(np.load(io.BytesIO(body), allow_pickle=False)), dtype=np.float64),
                    allow_pickle=False)
            say(b"p", out.getvalue())
        except Exception as e:
            say(b"e", f"{type(e).__name__}: {e}".encode())
except Exception as e:
    say(b"e", f"{type(e).__name__}: {e}".encode())
"""


def save(model: Any, folder: Path, task: str) -> None:
    """Write `model.pkl`. Raises Invalid for what cannot be pickled by reference to its module."""
    try:
        (folder / "model.pkl").write_bytes(pickle.dumps(model, protocol=5))
    except (pickle.PicklingError, AttributeError, TypeError) as e:
        raise Invalid(
            f"a {type(model).__name__} cannot be pickled: {e}.", hint="Define its class in an importable module."
        ) from None


def load(folder: Path, task: str) -> Predict:
    """Start a worker that unpickles the model and answers over a pipe; this process never unpickles anything."""
    return _Worker(folder / "model.pkl").predict


class _Worker:
    """One process for one model, one question at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        places = [p for p in sys.path if p]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(path), *places], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self.close)
        self._answer()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The model's answer. Raises Invalid for its error, Unavailable when it is silent for `PATIENCE`."""
        import io

        body = io.BytesIO()
        np.save(body, x, allow_pickle=False)
        with self._lock:
            self._pipe(self._process.stdin).write(struct.pack("<Q", body.tell()) + body.getvalue())
            self._pipe(self._process.stdin).flush()
            found: np.ndarray = np.load(io.BytesIO(self._answer()), allow_pickle=False)
        return found

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> bytes:
        watch = threading.Timer(PATIENCE, self._process.kill)
        watch.start()
        try:
            head = self._pipe(self._process.stdout).read(9)
            if len(head) < 9:
                raise Unavailable("the worker of a pickled model ended or did not answer in time.")
            kind, size = struct.unpack("<cQ", head)
            body = self._pipe(self._process.stdout).read(size)
        finally:
            watch.cancel()
        if kind == b"e":
            raise Invalid(f"the pickled model failed: {body.decode()}.")
        return body

    @staticmethod
    def _pipe(pipe: Any) -> BinaryIO:
        assert pipe is not None
        found: BinaryIO = pipe
        return found
