from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.backends.lmdb.environment import opened
from fivefold.backends.log.streams import KNOWN_FOR, MOST_RETIRED, Arrival, Log
from fivefold.core.errors import Conflict, Invalid, Unavailable
from fivefold.core.time import HOUR, SECOND
from fivefold.ports.streams import Message, Record

APPENDER = """
import sys
from fivefold.backends.log.streams import Log
from fivefold.ports.streams import Message
log = Log(sys.argv[1], topic="t")
i = 0
while i < int(sys.argv[3]):
    # large enough to be kept in several pieces
    log.append([Message(b"%d" % (i + k) + b" " * 100, sys.argv[2].encode()) for k in range(1000)])
    i += 1000
    print(i, flush=True)
"""


def appender(path: Path, key: str, count: int = 1 << 60) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", APPENDER, f"log:{path}", key, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def everything(log: Log, partition: int = 0, after: int = -1) -> list[Record]:
    out: list[Record] = []
    while found := log.read(partition, out[-1].offset if out else after, 1000):
        out += found
    return out


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * HOUR

    def __call__(self) -> int:
        return self.now


def test_a_killed_appender_leaves_whole_appends_and_all_it_was_told_were_kept(tmp_path: Path) -> None:
    for round, pause in enumerate((0.0, 0.001, 0.003, 0.007, 0.013)):
        path = tmp_path / str(round)
        with appender(path, "k") as process:
            assert process.stdout is not None
            told = int(process.stdout.readline())
            time.sleep(pause)
            os.kill(process.pid, signal.SIGKILL)
            told = max([told, *(int(line) for line in process.stdout.read().split(b"\n")[:-1])])
        log = Log(f"log:{path}", topic="t")
        found = everything(log)
        assert [int(r.value) for r in found] == [r.offset for r in found] == list(range(len(found)))
        assert len(found) % 1000 == 0
        assert len(found) >= told
        log.append([Message(b"after")])
        assert everything(log, after=len(found) - 1)[0].offset == len(found)
        log.close()


def test_processes_append_at_once_and_a_reader_sees_each_record_once(tmp_path: Path) -> None:
    log = Log(f"log:{tmp_path}", topic="t")
    with appender(tmp_path, "a", 10_000), appender(tmp_path, "b", 10_000):
        found: list[Record] = []
        until = time.monotonic() + 60
        while len(found) < 20_000 and time.monotonic() < until:
            found += log.read(0, found[-1].offset if found else -1, 777, wait=1.0)
    assert [r.offset for r in found] == list(range(20_000))
    for key in (b"a", b"b"):
        assert [int(r.value) for r in found if r.key == key] == list(range(10_000))
    log.close()


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(st.binary(max_size=40), st.none() | st.binary(max_size=3), st.integers(0, 2)), max_size=40), max_size=6),
    st.data(),
)
def test_any_offset_is_readable_however_records_were_packed(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[bytes, bytes | None, int]]], data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fivefold.backends.log.chunks.LARGEST_CHUNK", 64)
        log = Log(f"log:{tmp_path_factory.mktemp('log')}", topic="t", clock=lambda: 7)
        model: list[Record] = []
        for batch in batches:
            messages = [Message(v, k, (("h", b"\xff"), ("h", b""))[:n]) for v, k, n in batch]
            model += [Record(len(model) + i, *m, at=7) for i, m in enumerate(messages)]
            log.append(messages)
    after, limit = data.draw(st.integers(-1, len(model) - 1)), data.draw(st.integers(1, 60))
    assert log.read(0, after, limit) == model[after + 1 : after + 1 + limit]
    assert log.bounds(0) == (0, len(model) - 1)
    log.close()


def test_what_is_older_than_the_retention_goes_and_nothing_younger(tmp_path: Path) -> None:
    clock = Clock()
    log = Log(f"log:{tmp_path}?retention=1h&partitions=2", topic="t", clock=clock)
    for i in range(10):
        log.append([Message(b"%d" % i)], 0)
        clock.now += 600 * SECOND
    # the newest of the other partition make those of this one go too
    log.append([Message(b"other")], 1)
    assert [r.value for r in everything(log, 0)] == [b"4", b"5", b"6", b"7", b"8", b"9"]
    assert log.bounds(0) == (4, 9)
    with pytest.raises(Conflict, match=r"partition 0 of the topic 't': the records 1 to 3 are gone before they were read"):
        log.read(0, 0, 10)
    assert log.read(0, 3, 1)[0].value == b"4"
    clock.now += 3 * HOUR
    log.append([Message(b"10")], 1)
    assert log.bounds(0) == (10, 9)
    assert log.read(0, -1, 10) == log.read(0, 9, 10) == []
    with pytest.raises(Conflict, match="the records 6 to 9 are gone"):
        log.read(0, 5, 10)
    log.append([Message(b"10")], 0)
    assert [(r.offset, r.value) for r in everything(log, 0)] == [(10, b"10")]
    log.close()


def test_as_many_bytes_stay_as_were_asked_for_and_hardly_more(tmp_path: Path) -> None:
    log = Log(f"log:{tmp_path}?max_bytes=100kB", topic="t")
    for i in range(300):
        log.append([Message(b"%4d" % i + b"x" * 996)])
        kept = sum(len(r.value) for r in everything(log))
        assert min(i + 1, 99) * 1000 <= kept <= 101_000
    assert log.bounds(0)[1] == 299
    log.close()


def test_one_append_removes_a_bounded_part_of_a_long_backlog(tmp_path: Path) -> None:
    clock = Clock()
    log = Log(f"log:{tmp_path}", topic="t", clock=clock)
    for _ in range(3 * MOST_RETIRED):
        log.append([Message(b"x")])
    log.close()
    clock.now += 2 * HOUR
    log = Log(f"log:{tmp_path}?retention=1h", topic="t", clock=clock)
    log.append([Message(b"x")])
    assert MOST_RETIRED <= log.bounds(0)[0] < 2 * MOST_RETIRED
    for _ in range(3):
        log.append([Message(b"x")])
    assert log.bounds(0)[0] == 3 * MOST_RETIRED
    log.close()


def test_messages_without_a_key_are_spread_evenly(tmp_path: Path) -> None:
    log = Log(f"log:{tmp_path}?partitions=4", topic="t")
    for _ in range(10):
        log.append([Message(b"")])
    log.append([Message(b"")] * 10)
    assert Counter(len(everything(log, p)) for p in range(4)) == {5: 4}
    log.close()


def test_the_log_grows_while_others_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fivefold.backends.lmdb.environment.FIRST_SIZE", 1 << 20)
    log, reader = Log(f"log:{tmp_path}", topic="t"), Log(f"log:{tmp_path}", topic="t")
    found: list[Record] = []

    def read() -> None:
        while len(found) < 4000:
            found.extend(reader.read(0, found[-1].offset if found else -1, 100, wait=1.0))

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(0, 4000, 100):
        log.append([Message(b"%d" % k + b" " * 2000) for k in range(i, i + 100)])
    thread.join()
    assert [int(r.value) for r in found] == list(range(4000))
    log.close()
    assert reader.bounds(0) == (0, 3999)
    reader.close()


def test_what_arrives_again_is_taken_once(tmp_path: Path) -> None:
    clock = Clock()
    log = Log(f"log:{tmp_path}?partitions=2", topic="t", clock=clock)
    arrivals = [Arrival(b"%d" % i, Message(b"%d" % i), i % 2) for i in range(10)]
    assert log.take(arrivals[:6]) == 6
    log.close()
    log = Log(f"log:{tmp_path}", topic="t", clock=clock)
    assert log.take([*arrivals, arrivals[9]]) == 4
    assert log.take(arrivals) == 0
    assert [r.value for r in everything(log, 1)] == [b"1", b"3", b"5", b"7", b"9"]
    clock.now += KNOWN_FOR + 1
    # it forgets a few at a time, and those of today it knows
    assert log.take([Arrival(b"new%d" % i, Message(b"new")) for i in range(20)]) == 20
    assert log.take([Arrival(b"new3", Message(b"new")), arrivals[0]]) == 1
    log.close()


def test_what_is_not_bytes_is_refused_and_nothing_of_its_append_is_kept(tmp_path: Path) -> None:
    log = Log(f"log:{tmp_path}", topic="t")
    for wrong in (Message("text"), Message(b"x", "text")):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            log.append([Message(b"x"), wrong])
    assert log.bounds(0) == (0, -1)
    log.close()


def test_a_place_that_is_no_log_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="cannot open the log"):
        Log(f"log:{tmp_path}/file", topic="t")
    env = opened(tmp_path / "t")
    with env.used() as inner, inner.begin(write=True) as transaction:
        transaction.put(b"\x00about", b"9 1")
    env.release()
    with pytest.raises(Unavailable, match=r"in the format '9', which this version of fivefold does not know \(it knows '1'\)"):
        Log(f"log:{tmp_path}", topic="t")
    # and it gave the environment back
    lmdb.open(str(tmp_path / "t")).close()


@pytest.mark.parametrize(("url", "topic", "said"), [
    ("log:", "t", "names no folder"), ("log://host/folder", "t", "names no folder"),
    ("log:/x", "../t", "is not a name of a topic"), ("log:/x?partition=2", "t", "Did you mean 'partitions'"),
    ("log:/x?max_records=2", "t", "no setting 'max_records'"),
])
def test_a_wrong_place_is_refused_before_anything_is_made(url: str, topic: str, said: str) -> None:
    with pytest.raises(Invalid) as e:
        Log(url, topic=topic)
    assert said in str(e.value)
