"""Artifacts from one store to another, digest by digest."""

from __future__ import annotations

from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.blobs import get_blob, holds
from fivefold.ports.trees import read_manifest


def copy_blob(source: ArtifactStore, target: ArtifactStore, digest: str) -> None:
    """Copy bytes unless the target holds them. Raises NotFound, or Invalid when they no longer match their digest."""
    if not holds(target, digest):
        with get_blob(source, digest) as data:
            target.put(digest, data)


def copy_tree(source: ArtifactStore, target: ArtifactStore, digest: str) -> None:
    """Copy a tree, its manifest last: a tree that is named is whole."""
    for entry in read_manifest(source, digest).files:
        copy_blob(source, target, entry.digest)
    copy_blob(source, target, digest)
