"""A table of files is published by one rename: whoever opens it finds all of the old one, or all of the new one.

The table's folder is a link to a generation beside it, `.NAME.<key>`; the link is replaced in one step (rename(2)).

How to read it while jobs run: resolve the link once (`resolved`, or `os.path.realpath`), and read the files that the
manifest there names. A generation stays until the job runs again after it was replaced, so a reader has that long; when
a file is not found, start over. Whoever goes through the link for each file may list one generation and open another:
then files are not found, since no two generations share a name of a part, and nothing is ever mixed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fivefold.core.errors import Conflict, NotFound, Unavailable

MANIFEST = "_manifest.json"
_KEY = 32


class Manifest(msgspec.Struct, frozen=True):
    """What a published table is: the key of its inputs, the version that made it, and its files with their SHA-256."""

    key: str
    job: str
    model: str
    version: int
    rows_in: int
    rows_scored: int
    rows_rejected: int
    files: dict[str, str]


def published(folder: Path) -> Manifest | None:
    """The manifest of what is published at a folder, None when nothing is.

    Raises Conflict when something is there that was not published by us.
    """
    if not folder.exists() and not folder.is_symlink():
        return None
    target = Path(os.readlink(folder)) if folder.is_symlink() else Path()
    if len(target.parts) == 1 and _is_ours(folder, target.name) and not (folder.parent / target).is_symlink():
        try:
            return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None  # the generation was removed by hand, or is being made again
        except (OSError, ValueError):
            pass
    raise Conflict(
        f"{folder} is there, and was not published by a batch job.",
        hint="Move it away, or give the job's table another path; nothing was changed.",
    )


def resolved(folder: Path) -> Path:
    """The generation that is published at a folder now: read everything below it. Raises NotFound, Conflict."""
    if published(folder) is None:
        raise NotFound(f"nothing is published at {folder}.")
    return folder.resolve()


def generation(folder: Path, key: str) -> Path:
    """Where the generation of a key lies."""
    return folder.parent / f".{folder.name}.{key[:_KEY]}"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other job writes this table, and keep others out; a killed job keeps nobody out (flock(2))."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.parent / f".{folder.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as e:
        raise Unavailable(f"cannot write beside {folder}: {e.strerror or e}.") from e
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def begin(folder: Path, made: Path) -> None:
    """Make room for a generation: what killed jobs and older ones left is removed, links within it too."""
    current = _current(folder)
    for other in folder.parent.iterdir():
        name, _, state = other.name.removeprefix(".").rpartition(".")
        ours = _is_ours(folder, other.name) or (state in ("link", "old") and _is_ours(folder, f".{name}"))
        if not ours or other.name in (current, made.name if not other.is_symlink() else None):
            continue
        if other.is_symlink():
            other.unlink(missing_ok=True)
        elif other.is_dir():
            # whoever lists it now finds all of it or nothing
            gone = other if state == "old" else other.rename(other.with_name(f"{other.name}.old"))
            shutil.rmtree(gone, ignore_errors=True)
    _keep_only(made, None)


def publish(folder: Path, made: Path, manifest: Manifest) -> None:
    """Put a finished generation in the place of what is published. What it replaces stays for those who read it.

    Safe to repeat. Raises Conflict when something of somebody else is in the way, Unavailable when the disk is full.
    """
    published(folder)
    try:
        _keep_only(made, set(manifest.files))
        _write_durably(made / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest, order="sorted")) + b"\n")
        link = folder.parent / f"{made.name}.link"
        link.unlink(missing_ok=True)
        os.symlink(made.name, link)
        os.replace(link, folder)
        _sync(folder.parent)
    except OSError as e:
        raise Unavailable(
            f"cannot publish {folder}: {e.strerror or e}.",
            hint="Free some space and run it again; the old table is still there.",
        ) from e


def _current(folder: Path) -> str | None:
    """The name of the generation that is published, if any."""
    return os.readlink(folder) if folder.is_symlink() else None


def _is_ours(folder: Path, name: str) -> bool:
    """Whether a name beside a table is that of one of its generations, and not of the table `NAME.more`."""
    return re.fullmatch(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{{_KEY}}}", name) is not None


def _keep_only(made: Path, files: set[str] | None) -> None:
    """Remove links and unfinished files from a generation, and all but `files` if they are given."""
    for path, folders, names in os.walk(made):
        for name in [*folders, *names]:
            file = Path(path, name)
            unknown = (
                files is not None and file.is_file() and file.relative_to(made).as_posix() not in files | {MANIFEST}
            )
            if file.is_symlink() or name.endswith(".tmp") or unknown:
                file.unlink()


def _write_durably(path: Path, body: bytes) -> None:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    with temporary.open("wb") as f:
        f.write(body)
        f.flush()
        os.fsync(f.fileno())
    os.replace(temporary, path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
