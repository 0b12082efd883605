"""Directories in an artifact store: a manifest of relative names and digests, itself a blob."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import unicodedata
from pathlib import Path, PurePosixPath

import msgspec

from fivefold.core.canonical import canonical
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.ports.artifacts import ArtifactStore, checked
from fivefold.ports.blobs import CHUNK, get_blob, put_blob, put_file, read_blob, unwritten

FORMAT = "fivefold-tree-1"
MOST_FILES = 100_000
_MOST_BYTES = 64 << 20


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a tree: its POSIX name relative to the root, the digest of its bytes, and their number."""

    name: str
    digest: str
    size: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of a tree, sorted by name. Permissions, times and empty folders are not kept."""

    format: str
    files: tuple[Entry, ...]


def put_tree(store: ArtifactStore, path: Path) -> str:
    """Stores every file below a folder; the digest returned names the whole tree.

    Raises Invalid for links, devices and names that are not portable, NotFound when there is no such folder.
    """
    if not path.is_dir():
        raise NotFound(f"no folder {str(path)!r} to store.")
    files = []
    for name, file in sorted((_name_of(file, path), file) for file in _files(path)):
        blob = put_file(store, file)
        files.append(Entry(name, blob.digest, blob.size))
    manifest = Manifest(FORMAT, tuple(files))
    _check_names(manifest, str(path))
    return put_blob(store, canonical(msgspec.to_builtins(manifest))).digest


def read_manifest(store: ArtifactStore, digest: str) -> Manifest:
    """The files of a stored tree, verified and with safe names; raises NotFound and Invalid."""
    data = read_blob(store, digest, _MOST_BYTES, "tree")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        raise Invalid(f"the artifact {digest} is not a tree: {wrong}.") from None
    if manifest.format != FORMAT:
        raise Invalid(
            f"the tree {digest} has the format {manifest.format!r} (known: {FORMAT}).",
            hint="Upgrade fivefold if it was written by a newer version.",
        )
    _check_names(manifest, digest)
    return manifest


def fetch_tree(store: ArtifactStore, digest: str, into: Path) -> Manifest:
    """Writes a stored tree to the folder `into`: all of it, verified, or nothing.

    When `into` holds exactly this tree already, nothing is done. Raises Conflict when it holds something else, NotFound
    or Invalid naming the file whose blob is missing or damaged, Unavailable when the disk is full.
    """
    manifest = read_manifest(store, digest)
    if into.is_symlink() or (into.exists() and not into.is_dir()):
        raise Conflict(f"{str(into)!r} exists and is not a folder.")
    if into.exists() and any(into.iterdir()):
        if _same(into, manifest):
            return manifest
        raise Conflict(
            f"the folder {str(into)!r} holds something else than the tree {digest}.",
            hint="Name an empty or a new folder.",
        )
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        # made beside its place, so that the rename is atomic
        made = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".part", dir=into.parent))
    except OSError as wrong:
        raise unwritten(into, wrong) from wrong
    try:
        for entry in manifest.files:
            _write(store, entry, made / entry.name)
        made.chmod(0o755)
        made.replace(into)
    except OSError as wrong:
        raise unwritten(into, wrong) from wrong
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return manifest


def _write(store: ArtifactStore, entry: Entry, to: Path) -> None:
    try:
        reader = get_blob(store, entry.digest, f"file {entry.name!r}")
    except NotFound as wrong:
        raise NotFound(f"file {entry.name!r}: {wrong.message}", hint=wrong.hint) from None
    to.parent.mkdir(parents=True, exist_ok=True)
    with reader, to.open("xb") as file:
        shutil.copyfileobj(reader, file, CHUNK)
        if file.tell() != entry.size:
            raise Invalid(f"file {entry.name!r}: the manifest says {entry.size} bytes, there are {file.tell()}.")
        file.flush()
        os.fsync(file.fileno())


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root, followlinks=False):
        for name in [*folders, *names]:
            file = Path(folder, name)
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise Invalid(f"{str(file)!r} is a link or a device: only plain files can be stored.")
        found += [Path(folder, name) for name in names]
    return found


def _name_of(file: Path, root: Path) -> str:
    try:
        # macOS spells accents apart, Linux as typed: one tree must have one digest
        return unicodedata.normalize("NFC", file.relative_to(root).as_posix().encode().decode())
    except UnicodeEncodeError:
        raise Invalid(f"the file name {str(file)!a} is not UTF-8.") from None


def _check_names(manifest: Manifest, where: str) -> None:
    if len(manifest.files) > MOST_FILES:
        raise Invalid(f"the tree {where} has {len(manifest.files)} files (at most {MOST_FILES}).")
    seen: set[str] = set()
    folders: set[str] = set()
    for entry in manifest.files:
        checked(entry.digest)
        parts = entry.name.split("/")
        odd = any(ord(c) < 32 or c in '\\:*?"<>|\x7f' for c in entry.name)
        if odd or not 0 < len(entry.name) <= 1000 or any(part in ("", ".", "..") for part in parts):
            raise Invalid(
                f"the tree {where} has the file name {entry.name!r}: only relative names with / are "
                'accepted, without .., control characters and \\ : * ? " < > |.'
            )
        if entry.name in seen:
            raise Invalid(f"the tree {where} has the file {entry.name!r} twice.")
        seen.add(entry.name)
        folders.update(str(parent) for parent in PurePosixPath(entry.name).parents)
    if seen & folders:
        raise Invalid(f"the tree {where} has {sorted(seen & folders)[0]!r} as a file and as a folder.")


def _same(folder: Path, manifest: Manifest) -> bool:
    held = {}
    for file in _files(folder):
        with file.open("rb") as opened:
            held[_name_of(file, folder)] = hashlib.file_digest(opened, "sha256").hexdigest()
    return held == {entry.name: entry.digest for entry in manifest.files}
