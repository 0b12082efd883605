"""Every backend that has a file for OnlineStore keeps its contract; LMDB also across processes and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fivefold.backends import backends_of, connect
from fivefold.ports.online import MARK, OnlineStore
from fivefold.testing import online


@pytest.fixture(params=backends_of(OnlineStore))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> OnlineStore:
    match request.param:
        case "memory":
            return connect(OnlineStore, "memory:")
        case "lmdb":
            return connect(OnlineStore, f"lmdb:{tmp_path}/online")
    raise AssertionError(f"say here how to open an empty OnlineStore of {request.param!r}")


@pytest.mark.parametrize("check", online.checks, ids=lambda check: check.__name__)
def test_the_store_keeps_the_contract(check: Callable[[OnlineStore], None], store: OnlineStore) -> None:
    check(store)


WRITER = """
import sys
from fivefold.backends.lmdb.online import Lmdb
store = Lmdb(sys.argv[1])
i = 0
while True:
    i += 1
    text = b"%08d" % i
    store.replace("v", [(b"%05d" % k, text) for k in range(2000)], text)
    print(i, flush=True)
"""


def test_a_killed_writer_leaves_the_last_commit_whole(tmp_path: Path) -> None:
    path = f"{tmp_path}/online"
    for wait in (0.0, 0.003, 0.011, 0.017, 0.029):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(wait)
            os.kill(writer.pid, signal.SIGKILL)
        store = connect(OnlineStore, f"lmdb:{path}")
        values = set(store.get([("v", b"%05d" % k) for k in range(2000)] + [("v", MARK)]))
        store.close()
        assert len(values) == 1
        assert None not in values


def test_readers_in_other_processes_see_only_whole_commits(tmp_path: Path) -> None:
    path = f"{tmp_path}/online"
    seen = set()
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        store = connect(OnlineStore, f"lmdb:{path}")
        try:
            for _ in range(300):
                values = set(store.get([("v", b"00000"), ("v", b"01999"), ("v", MARK)]))
                assert len(values) == 1
                seen |= values
                time.sleep(0.001)
        finally:
            writer.kill()
            store.close()
    assert len(seen) > 1
