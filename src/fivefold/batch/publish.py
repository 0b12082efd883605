"""A table of files is published by one rename: readers see all of the old one, or all of the new one.

The table's folder is a link to a generation beside it, `.NAME.<key>`; the link is replaced in one step (rename(2)).
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import msgspec

from fivefold.core.errors import Conflict, Unavailable

MANIFEST = "_manifest.json"


class Manifest(msgspec.Struct, frozen=True):
    """What a published table is: the key of its inputs, the version that made it, and its files."""

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
    if not folder.is_symlink() or not (folder / MANIFEST).is_file():
        raise Conflict(
            f"{folder} is there, and was not published by a batch job.",
            hint="Move it away, or give the job's table another path; nothing was changed.",
        )
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)


def generation(folder: Path, key: str) -> Path:
    """Where the generation of a key lies."""
    return folder.parent / f".{folder.name}.{key[:32]}"


def publish(folder: Path, made: Path, manifest: Manifest) -> None:
    """Put a finished generation in the place of what is published, and remove what it replaces.

    Safe to repeat. Raises Conflict when something of somebody else is in the way, Unavailable when the disk is full.
    """
    published(folder)
    before = folder.resolve() if folder.is_symlink() else None
    try:
        _write_durably(made / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest, order="sorted")) + b"\n")
        link = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.link"
        os.symlink(made.name, link)
        os.replace(link, folder)
        _sync(folder.parent)
    except OSError as e:
        raise Unavailable(
            f"cannot publish {folder}: {e.strerror or e}.",
            hint="Free some space and run it again; the old table is still there.",
        ) from e
    if before is not None and before != made.resolve() and before.name.startswith(f".{folder.name}."):
        shutil.rmtree(before, ignore_errors=True)


def clean(folder: Path, keep: Path) -> None:
    """Remove generations and links that a killed job left behind."""
    current = folder.resolve() if folder.is_symlink() else None
    for other in folder.parent.glob(f".{folder.name}.*"):
        if other.is_symlink():
            other.unlink(missing_ok=True)
        elif other.is_dir() and other.resolve() not in (current, keep.resolve()):
            shutil.rmtree(other, ignore_errors=True)


def _write_durably(path: Path, body: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
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
