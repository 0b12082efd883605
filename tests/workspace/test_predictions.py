from __future__ import annotations

from pathlib import Path

import msgspec

from fivefold.features.lookup import Seen
from fivefold.workspace.predictions import Prediction, log_folder, read_predictions


def line(at: int, filler: str = "") -> bytes:
    return msgspec.json.encode(Prediction(
        f"p{at}", at, "e", "m", 1, "k", {"filler": filler}, {"f": (1.5, 7, "present")}, 9,
        {"v": Seen("v@1", "s", {0: 5})}, 0.25, 3)) + b"\n"


def write(state: Path, name: str, body: bytes) -> None:
    log_folder(state).mkdir(parents=True, exist_ok=True)
    (log_folder(state) / f"{name}.jsonl").write_bytes(body)


def ids(state: Path, limit: int = 100) -> list[str]:
    return [p["id"] for p in read_predictions(state, limit)]


def test_segments_of_processes_that_ran_at_once_are_merged_by_time(tmp_path: Path) -> None:
    write(tmp_path, "1-10", b"".join(map(line, (1, 4, 9))))
    write(tmp_path, "2-11", b"".join(map(line, (2, 3, 7, 8))))
    write(tmp_path, "5-12", line(5))
    assert ids(tmp_path) == ["p9", "p8", "p7", "p5", "p4", "p3", "p2", "p1"]
    assert ids(tmp_path, 3) == ["p9", "p8", "p7"]


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    for cut in range(1, len(line(3))):
        write(tmp_path, "1-10", line(1) + line(2) + line(3)[:cut])
        expected = ["p2", "p1"] if cut < len(line(3)) - 1 else ["p3", "p2", "p1"]
        assert ids(tmp_path) == expected


def test_lines_longer_than_a_block_and_across_blocks_are_whole(tmp_path: Path) -> None:
    write(tmp_path, "1-10", b"".join(line(at, "é" * (at * 40_000)) for at in range(1, 9)))
    assert ids(tmp_path) == [f"p{at}" for at in range(8, 0, -1)]


def test_no_log_is_no_predictions(tmp_path: Path) -> None:
    write(tmp_path, "1-10", b"")
    assert ids(tmp_path) == []
    assert ids(tmp_path / "nowhere") == []
