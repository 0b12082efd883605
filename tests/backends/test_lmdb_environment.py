from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fivefold.backends.lmdb.environment import opened
from fivefold.backends.lmdb.online import Lmdb
from fivefold.core.errors import Unavailable

READER = """
import sys, time, lmdb
env = lmdb.open(sys.argv[1], max_readers=512)
with env.begin() as held:
    print("reading", flush=True)
    time.sleep(60)
"""


def test_one_process_can_open_a_store_twice(tmp_path: Path) -> None:
    one, other = Lmdb(f"lmdb:{tmp_path}/o"), Lmdb(f"lmdb:{tmp_path}/../{tmp_path.name}/o")
    one.replace("v", [(b"k", b"1")], b"m")
    assert other.get([("v", b"k")]) == [b"1"]
    one.close()
    one.close()
    assert other.get([("v", b"k")]) == [b"1"]
    other.close()
    with pytest.raises(Unavailable, match="was closed"):
        other.get([("v", b"k")])
    assert Lmdb(f"lmdb:{tmp_path}/o").get([("v", b"k")]) == [b"1"]


def test_a_reader_that_was_killed_is_forgotten_by_the_next_writer(tmp_path: Path) -> None:
    store, env = Lmdb(f"lmdb:{tmp_path}"), opened(tmp_path / "base")
    store.replace("v", [(b"k", b"1")], b"m")
    with subprocess.Popen([sys.executable, "-c", READER, str(tmp_path / "base")], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        os.kill(reader.pid, signal.SIGKILL)
    with env.used() as inner:
        assert str(reader.pid) in inner.readers()
    store.replace("v", [(b"k", b"2")], b"m")
    with env.used() as inner:
        assert str(reader.pid) not in inner.readers()
    env.release()
    store.close()


def test_the_map_grows_while_others_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fivefold.backends.lmdb.environment.FIRST_SIZE", 1 << 20)
    store = Lmdb(f"lmdb:{tmp_path}")
    store.replace("small", [(b"k", b"1")], b"m")
    over, seen = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            seen.append(store.get([("small", b"k")]))

    reader = threading.Thread(target=read)
    reader.start()
    value = b"x" * 2_000
    store.replace("large", ((b"%06d" % i, value) for i in range(4000)), b"m")
    over.set()
    reader.join()
    assert seen
    assert all(found == [b"1"] for found in seen)
    assert store.get([("large", b"003999")]) == [value]
    store.close()
