from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fivefold.backends import connect
from fivefold.core.errors import Invalid, Unavailable
from fivefold.ports.artifacts import ArtifactStore

DATA = b"x" * 500_000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("url", ["files:", "files://host/data", "files:data?x=1"])
def test_what_is_no_folder_is_invalid(url: str) -> None:
    with pytest.raises(Invalid, match="is not a folder"):
        connect(ArtifactStore, url)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(Unavailable, match="taken"):
        connect(ArtifactStore, f"files:{tmp_path}/taken/data")


def test_blobs_lie_in_two_levels_of_folders_readable_by_all(tmp_path: Path) -> None:
    connect(ArtifactStore, f"files:{tmp_path}").put(DIGEST, io.BytesIO(DATA))
    path = tmp_path / DIGEST[:2] / DIGEST[2:4] / DIGEST
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path: Path) -> None:
    store = connect(ArtifactStore, f"files:{tmp_path}")
    old, new = tmp_path / "parts" / "old", tmp_path / "parts" / "new"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert list(store.list()) == []
    connect(ArtifactStore, f"files:{tmp_path}")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_full_disk_is_unavailable_and_leaves_nothing(tmp_path: Path) -> None:
    code = f"""
import io, resource, signal
from fivefold.backends import connect
from fivefold.core.errors import Unavailable
from fivefold.ports.artifacts import ArtifactStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = connect(ArtifactStore, "files:{tmp_path}")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put("{DIGEST}", io.BytesIO(b"x" * {len(DATA)}))
except Unavailable as said:
    print(said)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.startswith("cannot write")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_writer_killed_at_any_moment_leaves_the_old_bytes_or_the_new(tmp_path: Path) -> None:
    # the source kills its reader after n bytes: the store has nothing, and takes the blob afterwards
    code = f"""
import io, os, signal
from fivefold.backends import connect
from fivefold.ports.artifacts import ArtifactStore

class Kills(io.RawIOBase):
    left = int(os.environ["AFTER"])
    def readable(self): return True
    def readinto(self, buffer):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        n = min(self.left, len(buffer), 65536)
        buffer[:n] = b"x" * n
        self.left -= n
        return n

connect(ArtifactStore, "files:{tmp_path}").put("{DIGEST}", Kills())
"""
    for after in (0, 1, 100_000, len(DATA)):
        killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "AFTER": str(after)})
        assert killed.returncode == -9
        assert list(connect(ArtifactStore, f"files:{tmp_path}").list()) == []
    store = connect(ArtifactStore, f"files:{tmp_path}")
    store.put(DIGEST, io.BytesIO(DATA))
    with store.get(DIGEST) as reader:
        assert reader.read() == DATA
