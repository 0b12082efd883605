from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fivefold.backends.lmdb.online import Lmdb
from fivefold.core.errors import Conflict, Invalid, Unavailable
from fivefold.ports.online import MARK, Write

WRITER = """
import sys
from fivefold.backends.lmdb.online import Lmdb
from fivefold.ports.online import Write
store = Lmdb(sys.argv[1])
for space in sys.argv[2:]:
    store.commit([Write(space, [(b"k", space.encode())], b"m", None)])
store.close()
"""


def test_a_place_that_holds_something_else_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "partition-p").mkdir()
    (tmp_path / "partition-p" / "data.mdb").write_bytes(b"not a database" * 1000)
    store = Lmdb(f"lmdb:{tmp_path}")
    with pytest.raises(Unavailable, match="cannot open the online store"):
        store.get([("v/p", b"k")])
    assert store.get([("v", b"k")]) == [None], "the other partitions are sound"
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="cannot open the online store"):
        Lmdb(f"lmdb:{tmp_path}/file")
    store.close()


def test_reading_makes_no_environment_and_each_partition_has_one(tmp_path: Path) -> None:
    store = Lmdb(f"lmdb:{tmp_path}")
    assert store.get([("v", b"k"), ("v/0", b"k")]) == [None, None]
    assert list(store.scan("v/0")) == store.spaces() == []
    store.drop("v/0")
    assert list(tmp_path.iterdir()) == []
    for space in ("v", "v/0", "w/0", "v/..", "v/base", "v/A"):
        store.replace(space, [], b"m")
    names = ["base", "partition-+a", "partition-..", "partition-0", "partition-base"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    (tmp_path / "partition-X").mkdir()
    (tmp_path / "something else").mkdir()
    assert store.spaces() == ["v", "v/..", "v/0", "v/A", "v/base", "w/0"]
    store.close()


def test_a_reader_sees_environments_that_another_process_makes_later(tmp_path: Path) -> None:
    store = Lmdb(f"lmdb:{tmp_path}")
    pairs = [("v/0", b"k"), ("v/1", b"k"), ("v", b"k")]
    assert store.get(pairs) == [None, None, None]
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), "v/0"], check=True)
    assert store.get(pairs) == [b"v/0", None, None]
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), "v/1", "v"], check=True)
    assert store.get(pairs) == [b"v/0", b"v/1", b"v"]
    assert store.spaces() == ["v", "v/0", "v/1"]
    with pytest.raises(Conflict):
        store.commit([Write("v/1", [], b"n", None)])
    store.close()


def test_a_key_that_is_too_long_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    store = Lmdb(f"lmdb:{tmp_path}")
    longest = b"k" * 509
    store.replace("v", [(longest, b"1")], b"m")
    with pytest.raises(Invalid, match="has 510 bytes .accepted: 1 to 509"):
        store.replace("v", [(b"a", b"2"), (longest + b"k", b"2")], b"n")
    with pytest.raises(Invalid, match="has 510 bytes"):
        store.commit([Write("v", [(b"a", b"2"), (longest + b"k", None)], b"n", b"m")])
    assert list(store.scan("v")) == [(longest, b"1")]
    # so it is not there, which is all that a reader wants to know
    assert store.get([("v", longest + b"k"), ("v", longest), ("v", MARK)]) == [None, b"1", b"m"]
    store.close()


def test_a_commit_grows_the_map_when_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fivefold.backends.lmdb.environment.FIRST_SIZE", 1 << 20)
    store = Lmdb(f"lmdb:{tmp_path}")
    items = [(b"%04d" % i, b"x" * 10_000) for i in range(500)]
    store.commit([Write("v/p", items, b"m", None)])
    assert list(store.scan("v/p")) == items
    monkeypatch.setattr("fivefold.backends.lmdb.environment.LARGEST_SIZE", 8 << 20)
    with pytest.raises(Unavailable, match="is full"):
        store.commit([Write("v/p", [(b"a" + key, value) for key, value in items], b"n", b"m")])
    assert list(store.scan("v/p")) == items
    assert store.get([("v/p", MARK)]) == [b"m"]
    store.close()


def test_a_scan_holds_no_transaction_while_its_caller_works(tmp_path: Path) -> None:
    store = Lmdb(f"lmdb:{tmp_path}")
    store.replace("v", [(b"%05d" % i, b"") for i in range(3000)], b"m")
    scan = store.scan("v")
    next(scan)
    # with a transaction open, closing would wait for ever
    store.close()
    assert len([next(scan) for _ in range(999)]) == 999
    with pytest.raises(Unavailable, match="was closed"):
        next(scan)
