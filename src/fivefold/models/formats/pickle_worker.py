"""The process in which a pickled model lives: it is sent rows and answers numbers, and nothing else comes back."""

from __future__ import annotations

import math
import os
import struct
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from fivefold.core.errors import Invalid, Unavailable

MOST_BYTES = 1 << 31
"""The largest answer that is read."""

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PYTHONPATH")
"""What a worker learns of our environment: no credentials."""

_MAIN = """
import os, pickle, struct, sys
import numpy as np
questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
# what the model reads finds nothing, what it prints goes to the log
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)
sys.stdout.reconfigure(line_buffering=True)
for place in sys.argv[2:]:
    sys.path.append(place)
def say(kind, shape, body):
    answers.write(struct.pack("<cQQQ", kind, len(body), *shape) + body)
    answers.flush()
def fail(error):
    say(b"e", (0, 0), f"{type(error).__name__}: {error}".encode(errors="replace")[:2000])
try:
    with open(sys.argv[1], "rb") as f:
        model = pickle.load(f)
    say(b"r", (0, 0), b"")
except Exception as error:
    fail(error)
    sys.exit(1)
while head := questions.read(16):
    rows, columns = struct.unpack("<QQ", head)
    x = np.frombuffer(bytearray(questions.read(rows * columns * 8)), "<f8").reshape(rows, columns)
    try:
        out = np.ascontiguousarray(model.predict(x), dtype="<f8")
        if out.ndim not in (1, 2):
            raise ValueError(f"predict gave an array of {out.ndim} dimensions")
        say(b"p", (len(out), 0 if out.ndim == 1 else out.shape[1]), out.tobytes())
    except Exception as error:
        fail(error)
"""
_HEAD = struct.Struct("<cQQQ")


class Worker:
    """One process for one model, one question at a time. It ends when the worker is dropped."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path, self._patience = path, patience
        self._lock = threading.Lock()
        self._process = self._start()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The model's answer. Raises Invalid for its error, Unavailable when it ends or is silent."""
        with self._lock:
            if self._process.poll() is not None:
                self._process = self._start()
            question = struct.pack("<QQ", *x.shape) + np.ascontiguousarray(x, dtype="<f8").tobytes()
            return self._ask(self._process, question)

    def _start(self) -> subprocess.Popen[bytes]:
        places = [p for p in sys.path if p]
        # -P: the folder we stand in does not choose what `import` finds first
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, str(self._path), *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={k: os.environ[k] for k in _KEPT if k in os.environ} | {"PYTHONHASHSEED": "0"},
        )
        weakref.finalize(self, _end, process)
        self._ask(process, b"")
        return process

    def _ask(self, process: subprocess.Popen[bytes], question: bytes) -> np.ndarray:
        watch = threading.Timer(self._patience, process.kill)
        watch.daemon = True
        watch.start()
        try:
            pipe = cast(BinaryIO, process.stdin)
            pipe.write(question)
            pipe.flush()
            return self._answer(cast(BinaryIO, process.stdout))
        except (BrokenPipeError, EOFError):
            _end(process)
            raise Unavailable(
                f"the worker of the pickled model ended, or sent no answer within {self._patience:g} s.",
                hint="The next call starts a new one; its messages are in the log.",
            ) from None
        finally:
            watch.cancel()

    def _answer(self, pipe: BinaryIO) -> np.ndarray:
        kind, size, rows, columns = _HEAD.unpack(_exactly(pipe, _HEAD.size))
        shape = (rows, columns) if columns else (rows,)
        if kind not in (b"r", b"p", b"e") or size > MOST_BYTES or (kind == b"p" and size != 8 * math.prod(shape)):
            raise EOFError
        body = _exactly(pipe, size)
        if kind == b"e":
            raise Invalid(f"the pickled model failed: {body.decode(errors='replace')}.")
        return np.frombuffer(body, "<f8").reshape(shape if kind == b"p" else (0,))


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    found = pipe.read(size)
    if len(found) < size:
        raise EOFError
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
    process.wait()
