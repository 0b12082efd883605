"""A line of JSON for each request, written beside the hot path; never bodies, queries or credentials."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections import deque
from pathlib import Path
from typing import NamedTuple

import msgspec

from fivefold.core.errors import Unavailable
from fivefold.core.time import iso
from fivefold.realtime.telemetry.families import Sample

LONGEST_QUEUE = 50_000
PAUSE_SECONDS = 0.1
ROTATE_BYTES = 256 << 20
KEPT = 5
"""Files kept beside the one that is written: FILE.1, the newest, to FILE.5."""
_AT_ONCE = 512
_ID = re.compile(rb"[!-~]{1,128}")


class Line(NamedTuple):
    """What is told of a request: time (microseconds UTC), who, what, and how it went. `bytes` are those of the body."""

    time: int
    peer: str
    principal: str
    method: str
    route: str
    endpoint: str
    status: int | str
    bytes: int
    ms: float
    id: str


def request_id(given: bytes | None) -> str:
    """The id that a request brings, if it is one that can be given back; else a new one."""
    if given is not None and _ID.fullmatch(given):
        return given.decode("ascii")
    return os.urandom(8).hex()


class AccessLog:
    """Lines to a file, or to standard output (`-`). What the disk cannot keep up with is dropped, and counted.

    A file that is full is moved to FILE.1 and so on; one that somebody else moved away is begun anew. Several processes
    may write to one file. Raises Unavailable for a file that cannot be opened.
    """

    def __init__(self, file: str, longest_queue: int = LONGEST_QUEUE, rotate_bytes: int = ROTATE_BYTES) -> None:
        self._path = None if file == "-" else Path(file)
        self._longest, self._most = longest_queue, rotate_bytes
        self._waiting: deque[Line] = deque()
        self.written = self.dropped = 0
        self._open: int | None = None
        try:
            self._reopen()
        except OSError as e:
            raise Unavailable(f"--access-log {file}: {e.strerror or e}.", hint="Name a file in a folder.") from None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Log a line; never waits."""
        if len(self._waiting) < self._longest:
            self._waiting.append(line)
        else:
            self.dropped += 1

    def samples(self) -> list[Sample]:
        """How many lines were written and dropped."""
        return [
            Sample("fivefold_access_log_lines", ("written",), self.written),
            Sample("fivefold_access_log_lines", ("dropped",), self.dropped),
        ]

    def close(self) -> None:
        """Write what is queued, then stop."""
        self._over.set()
        self._thread.join()
        if self._path is not None and self._open is not None:
            os.close(self._open)

    def _work(self) -> None:
        last = False
        while not last:
            last = self._over.wait(PAUSE_SECONDS)
            while self._waiting:
                lines = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                try:
                    self._reopen()
                    _write(self._open, _encode([_told(line) for line in lines]))
                    self.written += len(lines)
                except (OSError, ValueError):
                    self.dropped += len(lines)

    def _reopen(self) -> None:
        """Have the file open that has the name, after moving one away that is full."""
        if self._path is None:
            self._open = 1
            return
        if self._open is not None:
            mine = os.fstat(self._open)
            try:
                there = os.stat(self._path)
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev):
                if mine.st_size < self._most:
                    return
                self._rotate(mine.st_ino)
            os.close(self._open)
            self._open = None
        self._open = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def _rotate(self, inode: int) -> None:
        assert self._path is not None
        assert self._open is not None
        # whoever has the lock of the full file moves it; the others find that it has been
        fcntl.flock(self._open, fcntl.LOCK_EX)
        try:
            if not self._path.exists() or self._path.stat().st_ino != inode:
                return
            for n in range(KEPT, 0, -1):
                older = self._path.with_name(f"{self._path.name}.{n}")
                newer = self._path if n == 1 else self._path.with_name(f"{self._path.name}.{n - 1}")
                if newer.exists():
                    newer.replace(older)
        finally:
            fcntl.flock(self._open, fcntl.LOCK_UN)


def _told(line: Line) -> dict[str, object]:
    return {**line._asdict(), "time": iso(line.time)}


def _write(file: int | None, data: bytes) -> None:
    assert file is not None
    while data:
        data = data[os.write(file, data) :]


_encode = msgspec.json.Encoder().encode_lines
