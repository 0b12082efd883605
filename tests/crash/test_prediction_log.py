"""A process that logs predictions and is killed at any step loses nothing that was written, and has nothing twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import duckdb

from fivefold.core.time import DAY
from fivefold.realtime.prediction_log.files import LogFiles
from fivefold.workspace.predictions import find_prediction, log_folder, newest_predictions

# argv: the folder, the number of the process, and the first and last step to die before (0: never). Each dies in
# a process of its own, which is forked when all is imported and no thread was started
CHILD = """
import os, signal, sys, time
from pathlib import Path
root, number, first, past = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
done = 0
last = 0

def step():
    global done
    done += 1
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(owner, name):
    inner = getattr(owner, name)
    def call(*given, **more):
        step()
        return inner(*given, **more)
    setattr(owner, name, call)

import pyarrow.parquet as pq
import fivefold.realtime.prediction_log.log as prediction_log
from fivefold.features.lookup import Seen
from fivefold.workspace.predictions import Prediction
for owner, name in [(os, "rename"), (os, "replace"), (os, "write"), (os, "fdatasync"), (os, "fsync"), (Path, "unlink"),
                    (pq.ParquetWriter, "write_table"), (pq.ParquetWriter, "close")]:
    watched(owner, name)
prediction_log.SEGMENT_BYTES = 3000
prediction_log.LOOK_SECONDS = 3600
prediction_log.PAUSE_SECONDS = 0.002

def made(n):
    at = n * 86_400_000_000 // 15
    return Prediction(f"p{at:014x}{number:08x}{n:08x}", at, "ab"[n % 2], "m", 1, "k", {"x": n}, {"f": (n / 7, at, "present")},
                      at, {"v": Seen("v@1", "s", {0: n})}, n / 3, 5)

def work(state, say):
    log = prediction_log.PredictionLog(state)
    for n in range(0, 30, 10):
        for m in range(n, n + 10):
            log.put(lambda m=m: made(m))
        while log.written < n + 10:
            time.sleep(0.001)
        say(n + 10)
        log._files.roll(lambda: False)
    log.close()
    log.settle(60)
    say(f"done {done}")

for last in range(first, past + 1):
    state = root / str(last) if past else root
    state.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if not child:
        with (root / f"said-{number}-{last}").open("w") as f:
            # what was acknowledged is told at once
            work(state, lambda what: (f.write(f"{what}\\n"), f.flush()))
        os._exit(0)
    code = os.waitpid(child, 0)[1]
    assert code in (0, 9), code
"""


def run(root: Path, number: int = 1, first: int = 0, past: int = 0) -> None:
    made = subprocess.run([sys.executable, "-c", CHILD, str(root), str(number), str(first), str(past)],
                          capture_output=True, text=True, timeout=280, check=False)
    assert (made.returncode, made.stderr) == (0, "")


def said(root: Path, number: int = 1, dies_at: int = 0) -> tuple[int, int]:
    """How many were acknowledged, and how many steps there were (0 when it was killed)."""
    words = (root / f"said-{number}-{dies_at}").read_text().split()
    steps = int(words[-1]) if "done" in words else 0
    acknowledged = [int(word) for word in (words[: words.index("done")] if steps else words)]
    return (acknowledged[-1] if acknowledged else 0), steps


def numbers(state: Path) -> list[int]:
    """The predictions that a reader sees, the oldest first; each as it was made."""
    found = newest_predictions(state, 10**6)[::-1]
    for p in found:
        n = p.row["x"]
        assert (p.features, p.prediction, p.at) == ({"f": (n / 7, p.at, "present")}, n / 3, n * DAY // 15)
    for p in found[::9]:
        assert find_prediction(state, p.id) == p
    return [p.row["x"] for p in found]


def in_files(state: Path) -> list[str]:
    """What DuckDB reads, without knowing of us."""
    files = list(log_folder(state).glob("*/*/*.parquet"))
    if not files:
        return []
    return [i for (i,) in duckdb.sql(f"select id from '{log_folder(state)}/*/*/*.parquet'").fetchall()]


def test_killed_at_any_step_nothing_is_lost_and_nothing_is_there_twice(tmp_path: Path, every: int) -> None:
    run(tmp_path / "never")
    acknowledged, steps = said(tmp_path / "never")
    assert acknowledged == 30
    assert numbers(tmp_path / "never") == list(range(30))
    assert len(in_files(tmp_path / "never")) == 30
    assert steps > 40
    run(tmp_path, first=1, past=steps)
    for dies_at in range(1, steps + 1, every):
        state = tmp_path / str(dies_at)
        acknowledged, _ = said(tmp_path, dies_at=dies_at)
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
    writers = [threading.Thread(target=run, args=(tmp_path, n)) for n in (1, 2)]
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
