from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.backends import connect
from fivefold.core.canonical import canonical
from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.blobs import put_blob
from fivefold.ports.trees import fetch_tree, put_tree, read_manifest

NAMES = st.lists(st.sampled_from(["a", "b", "é", "MLmodel", "x y", "…"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(NAMES, st.binary(max_size=50), max_size=6)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return connect(ArtifactStore, f"files:{tmp_path}/store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    _make(made, {"MLmodel": b"flavors", "data/model.txt": b"tree" * 500_000, "data/deep/er": b""})
    return made


@settings(max_examples=40, deadline=None)
@given(TREES)
def test_a_tree_comes_back_as_it_went_and_has_one_digest(files: dict[str, bytes]) -> None:
    names = [name for name in files if not any(other.startswith(name + "/") for other in files)]
    files = {name: files[name] for name in names}
    store = connect(ArtifactStore, "memory:")
    with tempfile.TemporaryDirectory() as where:
        _make(Path(where, "one"), files)
        digest = put_tree(store, Path(where, "one"))
        fetch_tree(store, digest, Path(where, "two"))
        assert _files(Path(where, "two")) == files
        assert put_tree(store, Path(where, "two")) == digest


def test_the_manifest_names_every_file_with_its_digest_and_size(store: ArtifactStore, folder: Path) -> None:
    manifest = read_manifest(store, put_tree(store, folder))
    assert [(f.name, f.size) for f in manifest.files] == [("MLmodel", 7), ("data/deep/er", 0),
                                                          ("data/model.txt", 2_000_000)]
    assert manifest.files[0].digest == hashlib.sha256(b"flavors").hexdigest()


def test_fetching_again_does_nothing_and_another_tree_in_the_way_is_a_conflict(
        store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = put_tree(store, folder)
    fetch_tree(store, digest, tmp_path / "out")
    before = (tmp_path / "out" / "MLmodel").stat().st_ino
    fetch_tree(store, digest, tmp_path / "out")
    assert (tmp_path / "out" / "MLmodel").stat().st_ino == before
    (tmp_path / "out" / "MLmodel").write_bytes(b"changed")
    with pytest.raises(Conflict, match="something else than the tree"):
        fetch_tree(store, digest, tmp_path / "out")
    assert (tmp_path / "out" / "MLmodel").read_bytes() == b"changed"


def test_an_empty_folder_in_the_way_is_filled_and_a_file_or_link_is_not(
        store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = put_tree(store, folder)
    (tmp_path / "empty").mkdir()
    fetch_tree(store, digest, tmp_path / "empty")
    assert _files(tmp_path / "empty") == _files(folder)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for taken in ("file", "link"):
        with pytest.raises(Conflict, match="is not a folder"):
            fetch_tree(store, digest, tmp_path / taken)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", [
    "../up", "a/../../up", "/etc/passwd", "a//b", "./a", "a/.", "", "..", "a\\b", "C:/x", "a\x00b", "a\nb", "x" * 1001,
    "con*"])
def test_a_manifest_with_an_unsafe_name_writes_nothing(name: str, store: ArtifactStore, tmp_path: Path) -> None:
    blob = put_blob(store, b"x")
    digest = _manifest(store, [{"name": name, "digest": blob.digest, "size": 1}])
    with pytest.raises(Invalid, match="file name"):
        fetch_tree(store, digest, tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"]])
def test_a_manifest_with_names_in_each_others_way_is_invalid(names: list[str], store: ArtifactStore) -> None:
    blob = put_blob(store, b"x")
    with pytest.raises(Invalid, match=r"twice|as a file and as a folder"):
        read_manifest(store, _manifest(store, [{"name": n, "digest": blob.digest, "size": 1} for n in names]))


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b'{"format":"fivefold-tree-2","files":[]}',
                                  b'{"format":"fivefold-tree-1","files":[{"name":"a","digest":"../x","size":1}]}',
                                  b'{"format":"fivefold-tree-1","files":[],"more":1}'])
def test_what_is_no_manifest_is_invalid(data: bytes, store: ArtifactStore) -> None:
    with pytest.raises(Invalid):
        read_manifest(store, put_blob(store, data).digest)


def test_a_missing_blob_names_the_file_and_leaves_no_folder(
        store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = put_tree(store, folder)
    blob = hashlib.sha256(b"tree" * 500_000).hexdigest()
    store.delete(blob)
    with pytest.raises(NotFound, match=f"file 'data/model.txt': no artifact {blob}"):
        fetch_tree(store, digest, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "store"]


def test_a_damaged_blob_names_the_file_and_both_digests(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = put_tree(store, folder)
    blob = hashlib.sha256(b"tree" * 500_000).hexdigest()
    (tmp_path / "store" / blob[:2] / blob[2:4] / blob).write_bytes(b"tree" * 499_999 + b"trie")
    with pytest.raises(Invalid, match=f"file 'data/model.txt': the bytes are those of [0-9a-f]{{64}}, not of {blob}"):
        fetch_tree(store, digest, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "store"]


def test_a_size_that_is_not_the_blobs_is_invalid(store: ArtifactStore, tmp_path: Path) -> None:
    blob = put_blob(store, b"xyz")
    with pytest.raises(Invalid, match="says 4 bytes, there are 3"):
        fetch_tree(store, _manifest(store, [{"name": "a", "digest": blob.digest, "size": 4}]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_and_devices_are_not_stored(store: ArtifactStore, folder: Path) -> None:
    (folder / "data" / "link").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match=r"data/link' is a link or a device"):
        put_tree(store, folder)
    (folder / "data" / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid, match=r"pipe' is a link or a device"):
        put_tree(store, folder)


def test_names_that_are_not_portable_are_not_stored(store: ArtifactStore, folder: Path) -> None:
    (folder / "a\\b").write_text("")
    with pytest.raises(Invalid, match="file name"):
        put_tree(store, folder)
    (folder / "a\\b").unlink()
    os.close(os.open(os.fsencode(folder) + b"/\xff", os.O_CREAT))
    with pytest.raises(Invalid, match="not UTF-8"):
        put_tree(store, folder)


def test_a_folder_that_is_not_there_is_not_found(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        put_tree(store, tmp_path / "none")


def test_a_full_disk_is_unavailable_and_leaves_no_partial_folder(
        store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    digest = put_tree(store, folder)
    code = f"""
import resource, signal
from pathlib import Path
from fivefold.backends import connect
from fivefold.core.errors import Unavailable
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.trees import fetch_tree
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = connect(ArtifactStore, "files:{tmp_path}/store")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    fetch_tree(store, "{digest}", Path("{tmp_path}/out"))
except Unavailable as said:
    print(said)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.startswith(f"cannot write {tmp_path}/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "store"]


def _manifest(store: ArtifactStore, files: list[Any]) -> str:
    return put_blob(store, canonical({"format": "fivefold-tree-1", "files": files})).digest


def _make(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
