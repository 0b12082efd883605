"""Lines of the access log: written beside, bounded, in files that are moved away."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from fivefold.core.errors import Unavailable
from fivefold.realtime.telemetry import access_log
from fivefold.realtime.telemetry.access_log import KEPT, AccessLog, Line, request_id


def line(n: int = 0) -> Line:
    return Line(1_772_000_000_000_000, "::1", "user:a\n", "POST", "/predict/{endpoint}", "e", 200, n, 0.5, "i")


def written(folder: Path) -> list[int]:
    return sorted(json.loads(text)["bytes"] for path in folder.iterdir() for text in path.read_text().splitlines())


def test_a_line_is_json_and_all_of_them_are_there_at_the_end(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    for n in range(2000):
        log.put(line(n))
    log.close()
    assert written(tmp_path) == list(range(2000))
    assert json.loads((tmp_path / "log").read_text().splitlines()[0]) == {
        "time": "2026-02-25T06:13:20Z", "peer": "::1", "principal": "user:a\n", "method": "POST",
        "route": "/predict/{endpoint}", "endpoint": "e", "status": 200, "bytes": 0, "ms": 0.5, "id": "i"}
    assert [(s.labels, s.value) for s in log.samples()] == [(("written",), 2000), (("dropped",), 0)]


def test_what_it_cannot_keep_up_with_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "PAUSE_SECONDS", 60)
    log = AccessLog(str(tmp_path / "log"), longest_queue=10)
    for n in range(25):
        log.put(line(n))
    log.close()
    assert (log.written, log.dropped) == (10, 15)


def test_a_disk_that_is_full_drops_lines_and_nobody_waits() -> None:
    log = AccessLog("/dev/full")
    for n in range(25):
        log.put(line(n))
    log.close()
    assert (log.written, log.dropped) == (0, 25)


def test_full_files_are_moved_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "_AT_ONCE", 10)
    log = AccessLog(str(tmp_path / "log"), rotate_bytes=1000)
    for n in range(500):
        log.put(line(n))
    log.close()
    assert {p.name for p in tmp_path.iterdir()} == {"log", *(f"log.{i}" for i in range(1, KEPT + 1))}
    kept = written(tmp_path)
    assert kept == list(range(500 - len(kept), 500)), "what is kept is the newest"


def test_several_writers_of_a_file_that_is_moved_lose_and_double_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "_AT_ONCE", 3)
    monkeypatch.setattr(access_log, "PAUSE_SECONDS", 0.001)
    # as many lines as fit into the files that are kept
    logs = [AccessLog(str(tmp_path / "log"), rotate_bytes=12_000) for _ in range(3)]

    def work(place: int) -> None:
        for n in range(100):
            logs[place].put(line(100 * place + n))
            time.sleep(0.0005)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for log in logs:
        log.close()
    assert len(list(tmp_path.iterdir())) > 2
    assert written(tmp_path) == list(range(300))


def test_a_file_that_somebody_moved_is_begun_anew(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "log"))
    log.put(line(1))
    end = time.monotonic() + 10
    while not log.written:
        assert time.monotonic() < end
        time.sleep(0.01)
    (tmp_path / "log").rename(tmp_path / "moved")
    log.put(line(2))
    log.close()
    assert json.loads((tmp_path / "log").read_text())["bytes"] == 2


def test_a_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="--access-log .*No such file"):
        AccessLog(str(tmp_path / "no" / "log"))


@pytest.mark.parametrize(("given", "taken"), [
    (b"abc-1", True), (b"x" * 128, True), (b"x" * 129, False), (b"", False), (b"a b", False), (b"a\r\nb", False),
    (b"\xff", False), (None, False),
])
def test_an_id_is_taken_when_it_can_be_given_back(given: bytes | None, taken: bool) -> None:
    found = request_id(given)
    assert (given is not None and found == given.decode("latin-1")) == taken
    if not taken:
        assert len(found) == 16
