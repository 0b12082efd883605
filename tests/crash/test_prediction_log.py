"""A process that logs predictions and is killed at any step loses nothing that was written, and has nothing twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import duckdb

from fivefold.core.time import DAY
from fivefold.realtime.log_files import LogFiles
from fivefold.workspace.predictions import find_prediction, log_folder, newest_predictions

# argv: the folder, the number of the process, before or after which step to die (0: never)
CHILD = """
import os, signal, sys
from pathlib import Path
state, number, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
done = 0

def step():
    global done
    done += 1
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(owner, name):
    inner = getattr(owner, name)
    def call(*given, **more):
        step()
        out = inner(*given, **more)
        step()
        return out
    setattr(owner, name, call)

import pyarrow.parquet as pq
import fivefold.realtime.prediction_log as prediction_log
from fivefold.features.lookup import Seen
from fivefold.workspace.predictions import Prediction
for owner, name in [(os, "rename"), (os, "replace"), (os, "write"), (os, "fdatasync"), (os, "fsync"), (Path, "unlink"),
                    (pq.ParquetWriter, "write_table"), (pq.ParquetWriter, "close")]:
    watched(owner, name)
prediction_log.SEGMENT_BYTES = 3000
prediction_log.LOOK_SECONDS = 3600

def made(n):
    at = n * 86_400_000_000 // 15
    return Prediction(f"p{at:014x}{number:08x}{n:08x}", at, "ab"[n % 2], "m", 1, "k", {"x": n}, {"f": (n / 7, at, "present")},
                      at, {"v": Seen("v@1", "s", {0: n})}, n / 3, 5)

log = prediction_log.PredictionLog(state)
for n in range(0, 30, 10):
    for m in range(n, n + 10):
        log.put(lambda m=m: made(m))
    while log.written < n + 10:
        pass
    # past the watched calls: what was acknowledged
    sys.stdout.write(f"{n + 10}\\n")
    sys.stdout.flush()
    log._files.roll(lambda: False)
log.close()
log.settle(60)
sys.stdout.write(f"done {done}\\n")
sys.stdout.flush()
"""


def child(state: Path, number: int = 1, dies_at: int = 0) -> tuple[int, int]:
    """How many were acknowledged, and how many steps there were (0 when it was killed)."""
    made = subprocess.run([sys.executable, "-c", CHILD, str(state), str(number), str(dies_at)], capture_output=True,
                          text=True, timeout=60, check=False)
    assert made.returncode in (0, -9), made.stderr
    said = made.stdout.split()
    steps = int(said[-1]) if "done" in said else 0
    acknowledged = [int(word) for word in (said[: said.index("done")] if steps else said)]
    return (acknowledged[-1] if acknowledged else 0), steps


def numbers(state: Path) -> list[int]:
    """The predictions that a reader sees, the oldest first; each as it was made."""
    found = newest_predictions(state, 10**6)[::-1]
    for p in found:
        n = p.row["x"]
        assert (p.features, p.prediction, p.at) == ({"f": (n / 7, p.at, "present")}, n / 3, n * DAY // 15)
        assert find_prediction(state, p.id) == p
    return [p.row["x"] for p in found]


def in_files(state: Path) -> list[str]:
    """What DuckDB reads, without knowing of us."""
    files = list(log_folder(state).glob("*/*/*.parquet"))
    if not files:
        return []
    return [i for (i,) in duckdb.sql(f"select id from '{log_folder(state)}/*/*/*.parquet'").fetchall()]


def test_killed_at_any_step_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    acknowledged, steps = child(tmp_path / "never")
    assert acknowledged == 30
    assert numbers(tmp_path / "never") == list(range(30))
    assert len(in_files(tmp_path / "never")) == 30
    assert steps > 60
    for dies_at in range(1, steps + 1):
        state = tmp_path / str(dies_at)
        acknowledged, finished = child(state, dies_at=dies_at)
        there = numbers(state)
        assert there == list(range(len(there)))
        assert len(there) >= acknowledged, dies_at
        direct = in_files(state)
        assert len(direct) == len(set(direct)) <= len(there)
        # whoever comes next makes files of the rest
        LogFiles(log_folder(state)).roll(lambda: False)
        assert numbers(state) == there, dies_at
        assert sorted(in_files(state)) == sorted(p.id for p in newest_predictions(state, 100))
        assert list(log_folder(state).glob("*.jsonl")) == []
        left = [p.name for p in log_folder(state).glob(".*") if not p.name.endswith(".new")]
        assert left == [], dies_at


def test_two_processes_write_and_make_files_while_another_reads(tmp_path: Path) -> None:
    over, wrong = threading.Event(), []

    def read() -> None:
        while not over.is_set():
            found = [p.id for p in newest_predictions(tmp_path, 10**6)]
            if len(found) != len(set(found)):
                wrong.append(found)
            direct = in_files_or_again(tmp_path)
            if len(direct) != len(set(direct)):
                wrong.append(direct)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=child, args=(tmp_path, n)) for n in (1, 2)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    over.set()
    reader.join()
    assert wrong == []
    assert sorted(p.row["x"] for p in newest_predictions(tmp_path, 100)) == sorted([*range(30), *range(30)])
    assert len(set(in_files(tmp_path))) == 60


def in_files_or_again(state: Path) -> list[str]:
    while True:
        try:
            return in_files(state)
        except duckdb.IOException:
            continue  # a file was replaced by the same one meanwhile
