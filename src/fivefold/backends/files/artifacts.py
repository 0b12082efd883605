"""Artifacts in a local folder: `ab/cd/abcd…`, written beside their place and renamed into it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fivefold.backends.url import parse
from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.artifacts import ArtifactStore, checked, missing

_ABANDONED_SECONDS = 24 * 3600


class Artifacts:
    """Fits ArtifactStore. Safe for many processes at once: a name always leads to whole bytes."""

    def __init__(self, url: str) -> None:
        where = parse(url)
        if where.host or where.query or not where.path:
            raise Invalid(f"{where} is not a folder.", hint="Write files:./data or files:/var/lib/data.")
        self._root = Path(where.path)
        self._parts = self._root / "parts"
        with _translated(self._root):
            self._parts.mkdir(parents=True, exist_ok=True)
            self._sweep()

    def put(self, digest: str, data: BinaryIO) -> None:
        path = self._path(digest)
        with _translated(path), self._part() as part:
            with part.open("wb") as file:
                shutil.copyfileobj(data, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            part.replace(path)
            _sync(path.parent)

    def get(self, digest: str) -> BinaryIO:
        path = self._path(digest)
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise missing(digest, str(self._root)) from None
        except OSError as wrong:
            raise Unavailable(f"cannot read {path}: {wrong.strerror}.") from wrong

    def list(self, prefix: str = "") -> Iterator[str]:
        # only the folders that the prefix leads to are looked at
        for first in _matching(self._root, prefix[:2], 2):
            for second in _matching(first, prefix[2:4], 2):
                for file in _matching(second, prefix, 64):
                    yield file.name

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        with _translated(path):
            path.unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._root / checked(digest)[:2] / digest[2:4] / digest

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        descriptor, name = tempfile.mkstemp(dir=self._parts)
        os.close(descriptor)
        part = Path(name)
        part.chmod(0o644)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Removes what killed writers left a day ago."""
        for part in self._parts.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    part.unlink()


def _matching(folder: Path, prefix: str, length: int) -> list[Path]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in names if name.startswith(prefix) and len(name) == length]


def _sync(folder: Path) -> None:
    """A rename is durable once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        raise Unavailable(
            f"cannot write {path}: {wrong.strerror or wrong}.", hint="Free space there, or check who may write."
        ) from wrong


provides = {ArtifactStore: Artifacts}
