"""A segment of the prediction log: lines appended by one process, whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_ABANDONED_SECONDS = 60
"""A file that never became a segment is removed after this."""


class Segment:
    """A file that this process appends to. Its lock (flock(2)) says so, and goes with the process.

    Raises OSError where the file cannot be made.
    """

    def __init__(self, folder: Path, at: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{at:020}-{os.urandom(8).hex()}"
        made = folder / f".{name}.new"
        self.path = folder / f"{name}.jsonl"
        self.size = 0
        self.broken = False
        """Part of a line could not be removed again: nothing more may be appended."""
        self._file = os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            # nobody sees the segment before it is locked
            fcntl.flock(self._file, fcntl.LOCK_EX)
            os.rename(made, self.path)
        except OSError:
            os.close(self._file)
            made.unlink(missing_ok=True)
            raise

    def append(self, body: bytes) -> None:
        """Append whole lines. Raises OSError where they do not all fit; then none is there."""
        written = 0
        try:
            while written < len(body):
                written += os.write(self._file, body[written:] if written else body)
        except OSError:
            try:
                os.ftruncate(self._file, self.size)
            except OSError:
                self.broken = True
            raise
        self.size += len(body)

    def sync(self) -> None:
        """What was appended survives a loss of power. Raises OSError."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Leave the segment to whoever makes files of it."""
        os.close(self._file)


@contextlib.contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Whether a segment is nobody else's: no process appends to it, and none makes files of it, until this is left."""
    try:
        opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # it may have been removed between the two calls by who had the lock
            mine = os.path.samestat(os.fstat(opened), os.stat(path))
        except (BlockingIOError, FileNotFoundError):
            mine = False
        yield mine
    finally:
        os.close(opened)


def lines_of(path: Path, at_once: int) -> Iterator[list[bytes]]:
    """The lines of a segment, about so many bytes at a time; what a crash cut short is among them."""
    held: list[bytes] = []
    size = 0
    with path.open("rb") as f:
        for line in f:
            held.append(line)
            size += len(line)
            if size >= at_once:
                yield held
                held, size = [], 0
    yield held


def sweep_abandoned(folder: Path) -> None:
    """Remove what a process left that was killed while it made a segment."""
    for path in folder.glob(".*.new"):
        with contextlib.suppress(FileNotFoundError), taken(path) as mine:
            if mine and path.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                path.unlink()
