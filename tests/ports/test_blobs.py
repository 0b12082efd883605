from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.backends import connect
from fivefold.core.errors import Invalid, NotFound
from fivefold.ports.artifacts import ArtifactStore
from fivefold.ports.blobs import Blob, get_blob, holds, put_blob, put_file, read_blob


@pytest.fixture
def store() -> ArtifactStore:
    return connect(ArtifactStore, "memory:")


@given(st.binary(max_size=300))
def test_a_blob_is_named_by_its_bytes_however_it_is_given(data: bytes) -> None:
    store = connect(ArtifactStore, "memory:")
    blob = put_blob(store, data)
    assert blob == Blob(hashlib.sha256(data).hexdigest(), len(data)) == put_blob(store, io.BytesIO(data))
    assert read_blob(store, blob.digest, 300) == data


def test_a_stream_that_cannot_be_rewound_is_stored(store: ArtifactStore) -> None:
    data = hashlib.shake_256(b"stream").digest(9 << 20)
    process = subprocess.Popen([sys.executable, "-c", "import hashlib, sys; "
                                "sys.stdout.buffer.write(hashlib.shake_256(b'stream').digest(9 << 20))"],
                               stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        blob = put_blob(store, process.stdout)  # type: ignore[arg-type]
    assert blob == Blob(hashlib.sha256(data).hexdigest(), len(data))


def test_damaged_bytes_are_refused_at_their_end(tmp_path: Path) -> None:
    store = connect(ArtifactStore, f"files:{tmp_path}")
    blob = put_blob(store, b"x" * 3_000_000)
    path = next(path for path in tmp_path.rglob("*") if path.name == blob.digest)
    path.write_bytes(b"x" * 2_999_999 + b"y")
    with get_blob(store, blob.digest, "model.txt") as reader:
        assert reader.read(100_000) == b"x" * 100_000
        with pytest.raises(Invalid) as raised:
            reader.read()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"model.txt: the bytes are those of {found}, not of {blob.digest}" in str(raised.value)


def test_bytes_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    store = connect(ArtifactStore, f"files:{tmp_path}")
    blob = put_blob(store, b"x" * 3_000_000)
    path = next(path for path in tmp_path.rglob("*") if path.name == blob.digest)
    path.write_bytes(b"")
    with pytest.raises(Invalid, match=f"not of {blob.digest}"):
        read_blob(store, blob.digest, 3_000_000)


def test_a_file_that_changes_while_it_is_stored_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"before")

    class Changes:
        """A store that finds the file rewritten between its hashing and its sending."""

        def list(self, prefix: str) -> list[str]:
            path.write_bytes(b"after!")
            return []

        def put(self, digest: str, data: io.BytesIO) -> None:
            data.read()

    with pytest.raises(Invalid, match="changed meanwhile"):
        put_file(Changes(), path)  # type: ignore[arg-type]


def test_what_is_there_is_not_sent_again(tmp_path: Path) -> None:
    store = connect(ArtifactStore, f"files:{tmp_path}")
    blob = put_blob(store, b"once")
    path = next(path for path in tmp_path.rglob("*") if path.name == blob.digest)
    before = path.stat().st_ino
    put_blob(store, b"once")
    assert path.stat().st_ino == before
    assert holds(store, blob.digest)
    assert not holds(store, "0" * 64)


def test_a_missing_blob_and_one_above_the_limit_say_so(store: ArtifactStore) -> None:
    with pytest.raises(NotFound, match="0" * 64):
        get_blob(store, "0" * 64)
    with pytest.raises(Invalid, match="is not a digest"):
        get_blob(store, "../etc/passwd")
    blob = put_blob(store, b"12345")
    with pytest.raises(Invalid, match="more than 4 bytes"):
        read_blob(store, blob.digest, 4)
