from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

from fivefold.realtime.prediction_log import PredictionLog
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
from test_prediction_log import made
from fivefold.realtime.prediction_log import PredictionLog
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
