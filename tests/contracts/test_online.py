"""Every backend that has a file for OnlineStore keeps its contract; those with a place also across processes and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fivefold.backends import backends_of, connect
from fivefold.core.errors import Unavailable
from fivefold.ports.online import MARK, OnlineStore
from fivefold.testing import online


@pytest.fixture(params=backends_of(OnlineStore))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    match request.param:
        case "memory":
            return "memory:"
        case "lmdb":
            return f"lmdb:{tmp_path}/online"
        case "redis":
            return str(request.getfixturevalue("redis_url"))
        case "postgres":
            return str(request.getfixturevalue("postgres_url"))
    raise AssertionError(f"say here where an empty OnlineStore of {request.param!r} is")


@pytest.fixture
def store(url: str) -> Iterator[OnlineStore]:
    opened = connect(OnlineStore, url)
    yield opened
    opened.close()


@pytest.fixture
def shared_url(url: str) -> str:
    """Where an empty store is that can be opened twice."""
    if url == "memory:":
        pytest.skip("every connection to memory: is a store of its own")
    return url


@pytest.fixture
def two(shared_url: str) -> Iterator[tuple[OnlineStore, OnlineStore]]:
    """Two handles of one store."""
    one, other = connect(OnlineStore, shared_url), connect(OnlineStore, shared_url)
    yield one, other
    one.close()
    other.close()


@pytest.mark.parametrize("check", online.checks, ids=lambda check: check.__name__)
def test_the_store_keeps_the_contract(check: Callable[[OnlineStore], None], store: OnlineStore) -> None:
    check(store)


@pytest.mark.parametrize("check", online.checks_of_two, ids=lambda check: check.__name__)
def test_two_handles_keep_the_contract(
    check: Callable[[OnlineStore, OnlineStore], None], two: tuple[OnlineStore, OnlineStore]
) -> None:
    check(*two)


def test_a_store_that_was_closed_says_so(store: OnlineStore, url: str) -> None:
    store.replace("v", [(b"k", b"1")], b"m")
    assert store.get([("v", b"k")]) == [b"1"]
    store.close()
    store.close()
    if url != "memory:":
        for use in (lambda: store.get([("v", b"k")]), store.spaces, lambda: list(store.scan("v"))):
            with pytest.raises(Unavailable, match="was closed"):
                use()


WRITER = """
import sys
from fivefold.backends import connect
from fivefold.ports.online import OnlineStore
store = connect(OnlineStore, sys.argv[1])
i = 0
while True:
    i += 1
    text = b"%08d" % i
    store.replace("v", [(b"%05d" % k, text) for k in range(2000)], text)
    print(i, flush=True)
"""


def test_a_killed_writer_leaves_the_last_replacement_whole(shared_url: str) -> None:
    for wait in (0.0, 0.003, 0.011, 0.017, 0.029):
        killed(WRITER, shared_url, wait)
        store = connect(OnlineStore, shared_url)
        values = set(store.get([("v", b"%05d" % k) for k in range(2000)] + [("v", MARK)]))
        store.close()
        assert len(values) == 1
        assert None not in values


def test_readers_in_other_processes_see_only_whole_replacements(shared_url: str) -> None:
    seen = set()
    with subprocess.Popen([sys.executable, "-c", WRITER, shared_url], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        store = connect(OnlineStore, shared_url)
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


COMMITTER = """
import sys
from fivefold.backends import connect
from fivefold.ports.online import MARK, OnlineStore, Write
store = connect(OnlineStore, sys.argv[1])
spaces = ["a/p", "b/p"]
while True:
    last, other = store.get([(s, MARK) for s in spaces])
    assert last == other
    text = b"%08d" % (int(last or b"0") + 1)
    # each commit puts the same value everywhere and takes away what the last one added
    items = [*((b"%05d" % k, text) for k in range(500)), (b"new" + text, text), (b"new" + (last or b""), None)]
    store.commit([Write(s, items, text, last) for s in spaces])
    print(int(text), flush=True)
"""


def test_a_writer_killed_in_a_commit_leaves_it_whole_or_unmade(shared_url: str) -> None:
    last = 0
    for wait in (0.0, 0.002, 0.005, 0.007, 0.011, 0.017, 0.023, 0.031):
        told = killed(COMMITTER, shared_url, wait)
        store = connect(OnlineStore, shared_url)
        mark, found = at_rest(store)
        store.close()
        assert set(found) == {"a/p", "b/p"}
        assert found["a/p"] == found["b/p"]
        assert {value for _, value in found["a/p"]} == {mark}
        assert [key for key, _ in found["a/p"] if key.startswith(b"new")] == [b"new" + mark]
        assert len(found["a/p"]) == 501
        # what was told to be committed is there, and at most one commit more
        assert last < told <= int(mark) <= told + 1
        last = int(mark)


def killed(program: str, url: str, wait: float) -> int:
    """Run a writer, kill it a while after it wrote for the first time; the number that it told last."""
    with subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline()]
        time.sleep(wait)
        os.kill(writer.pid, signal.SIGKILL)
        told += writer.stdout.read().splitlines()
    return int(told[-1])


def at_rest(store: OnlineStore) -> tuple[bytes, dict[str, list[tuple[bytes, bytes]]]]:
    """The mark of both spaces, and all they hold: a server may still be doing what a client asked before it died."""
    marks = [("a/p", MARK), ("b/p", MARK)]
    while True:
        before = store.get(marks)
        found = {space: list(store.scan(space)) for space in store.spaces()}
        if store.get(marks) == before:
            (mark,) = set(before)
            assert mark is not None
            return mark, found
