"""Tables in files of this machine, named by a path or a glob."""

from __future__ import annotations

import glob
from pathlib import Path

from fivefold.core.canonical import digest
from fivefold.core.errors import NotFound, nearest
from fivefold.ports.tables import Partition, TableReader


class Files:
    """A file or glob below a root folder: every file is a partition."""

    def __init__(self, url: str, *, root: str = ".") -> None:
        self._pattern = url.removeprefix("files:").removeprefix("file://")
        self._root = Path(root)

    def partitions(self) -> list[Partition]:
        found = sorted(p for p in glob.glob(str(self._root / self._pattern), recursive=True) if Path(p).is_file())
        if not found:
            raise NotFound(f"no file matches {self._pattern!r} below {self._root.resolve()}.", hint=self._nearby())
        return [self._partition(Path(p)) for p in found]

    def fetch(self, partition: Partition, scratch: Path) -> Path:
        path = self._root / partition.name
        if not path.is_file():
            raise NotFound(f"the file {partition.name} has gone since it was listed.", hint="Run it again.")
        return path

    def _partition(self, path: Path) -> Partition:
        about = path.stat()
        name = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else str(path)
        return Partition(name, digest("file", [name, str(about.st_size), str(about.st_mtime_ns)]), about.st_size)

    def _nearby(self) -> str:
        folder = self._root / Path(self._pattern).parent
        if not folder.is_dir():
            return f"There is no folder {folder}."
        names = sorted(p.name for p in folder.iterdir())
        close = nearest(Path(self._pattern).name, names)
        return (
            f"Did you mean {close!r}?" if close else f"The folder {folder} holds: {', '.join(names[:8]) or 'nothing'}."
        )


provides = {TableReader: Files}
