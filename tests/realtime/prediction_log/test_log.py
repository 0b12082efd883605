from __future__ import annotations

import logging
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fivefold.core.time import DAY
from fivefold.realtime.prediction_log import log as prediction_log
from fivefold.realtime.prediction_log import segment as log_segment
from fivefold.realtime.prediction_log.files import MOST_SWEPT, LogFiles
from fivefold.realtime.prediction_log.log import PredictionLog
from fivefold.workspace.predictions import Prediction, log_folder, read_predictions


def made(at: int, **more: object) -> Prediction:
    fields = {"id": f"p{at}", "at": at, "endpoint": "e", "model": "m", "version": 1, "key": "k", "row": {},
              "features": {"f": (1.5, None, "present")}, "as_of": at, "seen": {}, "prediction": 0.5, "latency_us": 3}
    return Prediction(**{**fields, **more})  # type: ignore[arg-type]


def ids(state: Path, limit: int = 10**6) -> list[str]:
    return [p["id"] for p in read_predictions(state, limit)]


def test_all_that_was_put_is_there_after_closing_the_newest_first(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    for at in range(3000):
        log.put(lambda at=at: made(at))  # type: ignore[misc]
    log.close()
    assert ids(tmp_path) == [f"p{at}" for at in reversed(range(3000))]
    assert ids(tmp_path, 2) == ["p2999", "p2998"]
    assert log.dropped == 0


def test_nothing_is_made_on_disk_before_the_first_prediction(tmp_path: Path) -> None:
    PredictionLog(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path: Path) -> None:
    held = threading.Event()

    def slow() -> Prediction:
        held.wait()
        return made(0)

    log = PredictionLog(tmp_path, longest_queue=4)
    log.put(slow)
    while log._waiting:
        pass
    for at in range(1, 11):
        log.put(lambda at=at: made(at))  # type: ignore[misc]
    held.set()
    log.close()
    assert log.dropped == 6
    assert ids(tmp_path) == ["p4", "p3", "p2", "p1", "p0"]


def test_what_cannot_be_written_is_counted_and_the_log_goes_on(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.put(lambda: made(1, row={"x": object()}))
    while not log.dropped:
        pass
    assert "TypeError" in log.failed
    log.put(lambda: made(2))
    log.close()
    assert ids(tmp_path) == ["p2"]
    assert (log.dropped, log.failed) == (1, "")


FULL_DISK = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_log import made
from fivefold.realtime.prediction_log.log import PredictionLog
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
log = PredictionLog(Path(sys.argv[1]))
for tens in range(0, 100, 10):
    for at in range(tens, tens + 10):
        log.put(lambda at=at: made(at))
    while log._waiting: pass
log.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(log.dropped, "|", log.failed)
"""


def test_a_full_disk_drops_and_counts_and_leaves_whole_lines(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    found = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path), str(Path(__file__).parent)],
                           capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    dropped, why = found.stdout.split(" | ")
    assert "File too large" in why
    assert 0 < len(ids(tmp_path)) == 100 - int(dropped) < 100
    (segment,) = log_folder(tmp_path).glob("*.jsonl")
    assert segment.read_bytes().endswith(b"}\n")


def full_disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A disk that is full while `full` says so."""
    disk = {"full": True}
    write = log_segment.os.write

    def fails(file: int, body: bytes) -> int:
        if disk["full"]:
            raise OSError(28, "No space left on device")
        return write(file, body)

    monkeypatch.setattr(log_segment.os, "write", fails)
    return disk


def wait_for(true: object, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def id_of(n: int) -> str:
    return f"p{n:014x}{n * 0x9E3779B97F4A7C15 % 2**64:016x}"


def test_on_a_full_disk_it_samples_and_says_so_and_goes_back_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fivefold.realtime.prediction_log.sampling.EASIER_SECONDS", 0.1)
    disk, n = full_disk(monkeypatch), 0
    log = PredictionLog(tmp_path)
    with caplog.at_level(logging.WARNING):
        while log.every < 8:
            log.put(lambda n=n: made(n, id=id_of(n)), id_of(n))  # type: ignore[misc]
            n += 1
            time.sleep(0.0005)
        for n in range(n, n + 1000):  # noqa: B020
            log.put(lambda n=n: made(n, id=id_of(n)), id_of(n))  # type: ignore[misc]
    assert log.left_out["sampled"] > 800
    assert log.left_out["not written"] > 0
    assert "No space left" in log.failed
    warnings = [r for r in caplog.records if "predictions were not logged" in r.message]
    assert len(warnings) == 1, "at most one a minute"
    disk["full"] = False
    wait_for(lambda: log.every == 1)
    before = log.dropped
    for m in range(n + 1, n + 101):
        log.put(lambda m=m: made(m, id=id_of(m)), id_of(m))  # type: ignore[misc]
    log.close()
    assert log.dropped == before
    assert log.failed == ""
    assert ids(tmp_path, 100) == [id_of(m) for m in reversed(range(n + 1, n + 101))]
    assert log.written + log.dropped == n + 101


def test_a_sink_that_is_slow_is_given_a_sample_and_put_never_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = log_segment.os.write
    monkeypatch.setattr(log_segment.os, "write", lambda file, body: (time.sleep(0.02), write(file, body))[1])
    log = PredictionLog(tmp_path, longest_queue=200)
    longest, kept = 0.0, 0
    for n in range(4000):
        began = time.perf_counter()
        log.put(lambda n=n: made(n, id=id_of(n)), id_of(n))  # type: ignore[misc]
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.0002)
        kept = max(kept, log.every)
    log.close()
    assert kept > 1
    assert log.left_out["sampled"] > 0
    assert log.written + log.dropped == 4000
    assert len(ids(tmp_path)) == log.written
    assert longest < 0.5, "the machine may be busy, but nobody waited for the sink"


def test_a_sample_is_the_same_whoever_takes_it(tmp_path: Path) -> None:
    logs = [PredictionLog(tmp_path / name) for name in "ab"]
    for log in logs:
        log._sampling.every = 4
        log._sampling._changed = time.monotonic() + 60
        for n in range(400):
            log.put(lambda n=n: made(n, id=id_of(n)), id_of(n))  # type: ignore[misc]
        log.close()
    assert ids(tmp_path / "a") == ids(tmp_path / "b")
    assert 50 < len(ids(tmp_path / "a")) < 150


def test_segments_that_are_full_or_old_become_files_while_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "SEGMENT_BYTES", 20_000)
    monkeypatch.setattr(prediction_log, "SEGMENT_SECONDS", 0.3)
    monkeypatch.setattr(prediction_log, "LOOK_SECONDS", 0.05)
    log = PredictionLog(tmp_path)
    for n in range(1000):
        log.put(lambda n=n: made(n * DAY // 400, endpoint="ab"[n % 2], id=id_of(n)))  # type: ignore[misc]
        if not n % 100:
            time.sleep(0.06)
    wait_for(lambda: not list(log_folder(tmp_path).glob("*.jsonl")))
    files = sorted(log_folder(tmp_path).glob("*/*/*.parquet"))
    assert {p.parent.relative_to(log_folder(tmp_path)).as_posix() for p in files} == {
        f"{e}/1970-01-0{d}" for e in "ab" for d in (1, 2, 3)}
    log.close()
    assert ids(tmp_path) == [id_of(n) for n in reversed(range(1000))]


def test_old_files_and_those_above_the_bytes_are_removed_the_oldest_first_and_not_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(10):
        log = PredictionLog(tmp_path)
        for n in range(50):
            log.put(lambda n=n, day=day: made(day * DAY + n))  # type: ignore[misc]
        log.close()
        log.settle()
    folder = log_folder(tmp_path)
    files = sorted(folder.glob("*/*/*.parquet"))
    assert len(files) == 10
    size = sum(f.stat().st_size for f in files[-4:])
    assert LogFiles(folder, kept_for=7 * DAY).sweep(10 * DAY) == 3
    assert sorted(folder.glob("*/*/*.parquet")) == files[3:]
    assert not (folder / "e" / "1970-01-01").exists()
    monkeypatch.setattr("fivefold.realtime.prediction_log.files.MOST_SWEPT", 2)
    kept = LogFiles(folder, most_bytes=size)
    assert [kept.sweep(10 * DAY) for _ in range(3)] == [2, 1, 0]
    assert sorted(folder.glob("*/*/*.parquet")) == files[6:]
    assert len(ids(tmp_path)) == 200
    assert MOST_SWEPT > 2


def test_what_is_being_written_is_neither_made_into_files_nor_removed(tmp_path: Path) -> None:
    log = PredictionLog(tmp_path)
    log.put(lambda: made(5))
    wait_for(lambda: log.written)
    files = LogFiles(log_folder(tmp_path), kept_for=1, most_bytes=1)
    files.roll(lambda: False)
    files.sweep(2**60)
    assert ids(tmp_path) == ["p5"]
    log.close()
    assert ids(tmp_path) == ["p5"]
    files.roll(lambda: False)
    assert ids(tmp_path) == ["p5"]
    assert files.sweep(2**60) == 1
    assert ids(tmp_path) == []


def test_putting_costs_a_few_microseconds(tmp_path: Path) -> None:
    log, taken = PredictionLog(tmp_path, longest_queue=10**6), []
    for n in range(200):
        began = time.perf_counter()
        for _ in range(100):
            log.put(lambda n=n: made(n), "p0")  # type: ignore[misc]
        taken.append((time.perf_counter() - began) / 100)
    log.close()
    # the median of many: others use the machine too
    assert sorted(taken)[100] < 10e-6
