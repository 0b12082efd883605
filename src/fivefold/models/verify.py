"""A package is checked against its manifest before anything in it is read."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from fivefold.core.errors import Invalid, NotFound

MANIFEST = "manifest.json"
_AGAIN = "Fetch the package again."


def manifest_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its relative name."""
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() != MANIFEST
    }


def verify(folder: Path) -> None:
    """Check every file of a package against its manifest.

    Raises NotFound without a manifest, Invalid for a file that is missing, changed, a link or device, or not listed.
    """
    path = folder / MANIFEST
    if not path.is_file() or path.is_symlink():
        raise NotFound(f"{folder} is no model package: it has no {MANIFEST}.")
    try:
        listed = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise Invalid(f"the package {folder.name} is corrupt: {MANIFEST} is damaged ({e}).", hint=_AGAIN) from None
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    for name in sorted((there - {MANIFEST}) ^ set(listed)):
        what = "is not listed in its manifest" if name in there else "is missing"
        raise Invalid(f"the package {folder.name} is corrupt: {name} {what}.", hint=_AGAIN)
    for name, expected in listed.items():
        if not stat.S_ISREG((folder / name).lstat().st_mode):
            raise Invalid(f"the package {folder.name} is corrupt: {name} is a link or a device.", hint=_AGAIN)
        found = _digest(folder / name)
        if found != expected:
            raise Invalid(
                f"the package {folder.name} is corrupt: {name} has the digest {found[:12]}, not {expected[:12]}.",
                hint=_AGAIN,
            )


def _digest(path: Path) -> str:
    # a link planted between listing and reading is not followed
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
