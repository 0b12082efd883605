from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fivefold.backends import connect
from fivefold.core.errors import Invalid, NotFound
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.blobs import holds, put_blob, read_blob
from fivefold.ports.copies import copy_blob, copy_tree
from fivefold.ports.trees import fetch_tree, put_tree


@pytest.fixture
def source(tmp_path: Path) -> ArtifactStore:
    return connect(ArtifactStore, f"files:{tmp_path}/source")


@pytest.fixture
def target() -> ArtifactStore:
    return connect(ArtifactStore, "memory:")


def test_a_damaged_blob_is_not_copied(source: ArtifactStore, target: ArtifactStore, tmp_path: Path) -> None:
    blob = put_blob(source, b"sound")
    copy_blob(source, target, blob.digest)
    assert read_blob(target, blob.digest, 5) == b"sound"
    target.delete(blob.digest)
    next(path for path in tmp_path.rglob("*") if path.name == blob.digest).write_bytes(b"other")
    with pytest.raises(Invalid, match=f"not of {blob.digest}"):
        copy_blob(source, target, blob.digest)
    assert not holds(target, blob.digest)


def test_a_tree_is_copied_whole_or_not_named_in_the_target(
        source: ArtifactStore, target: ArtifactStore, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_bytes(b"flavors")
    (folder / "data" / "model.txt").write_bytes(b"tree")
    digest = put_tree(source, folder)
    copy_tree(source, target, digest)
    copy_tree(source, target, digest)
    fetch_tree(target, digest, tmp_path / "out")
    assert (tmp_path / "out" / "data" / "model.txt").read_bytes() == b"tree"

    missing = hashlib.sha256(b"flavors").hexdigest()
    source.delete(missing)
    other = connect(ArtifactStore, "memory:")
    with pytest.raises(NotFound, match=missing):
        copy_tree(source, other, digest)
    assert not holds(other, digest)
