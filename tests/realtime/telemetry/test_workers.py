"""Numbers of several workers, whichever is asked: counters never go down, and none is counted twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.realtime.telemetry.families import Buckets, Sample
from fivefold.realtime.telemetry.workers import Shared, Written, _write, add_up, together


class Worker:
    """A worker whose numbers a test changes."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.pid, self.rows, self.clients = pid, 0, 1
        self.shared = Shared(folder, self.samples, pid)

    def samples(self) -> list[Sample]:
        return [
            Sample("fivefold_calls", ("e", "no"), self.rows),
            Sample("fivefold_connections", (), self.clients),
            Sample("fivefold_batch_rows", ("e",), Buckets((1, 2), [self.rows, 0, 0], self.rows)),
        ]


def found(samples: list[Sample]) -> dict[str, float | Buckets]:
    return {s.name: s.value for s in samples}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["ask", "ask", "write", "scrape", "kill", "leave", "start", "add"]), max_size=40), st.randoms())
def test_whatever_happens_a_counter_shows_what_was_shown_or_more(steps: list[str], chance: random.Random) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alive, dead = [Worker(folder, 1)], []
        asked, before, pid = 0, 0.0, 1
        for step in [*steps, "scrape"]:
            one = chance.choice(alive)
            if step == "ask":
                one.rows, asked = one.rows + 1, asked + 1
            elif step == "write":
                one.shared.write()
            elif step in ("kill", "leave") and len(alive) > 1:
                if step == "leave":
                    one.shared.write()
                alive.remove(one)
                dead.append(one)
            elif step == "start":
                pid += 1
                alive.append(Worker(folder, pid))
            elif step == "add" and dead:
                add_up(folder, dead.pop().pid, "died")
            elif step == "scrape":
                now = found(one.shared())
                calls, buckets = now["fivefold_calls"], now["fivefold_batch_rows"]
                assert isinstance(calls, float)
                assert isinstance(buckets, Buckets)
                assert before <= calls <= asked
                assert buckets.counts[0] == buckets.total == calls
                before = calls


def test_what_died_keeps_its_counters_and_no_gauges(tmp_path: Path) -> None:
    one, other = Worker(tmp_path, 1), Worker(tmp_path, 2)
    one.rows, other.rows = 5, 7
    one.shared.write()
    assert found(other.shared())["fivefold_calls"] == 12
    assert found(other.shared())["fivefold_connections"] == 2
    add_up(tmp_path, 1, "died")
    now = found(other.shared())
    assert (now["fivefold_calls"], now["fivefold_connections"], now["fivefold_workers_ended"]) == (12, 1, 1)
    assert not (tmp_path / "1.numbers").exists()


def test_one_that_is_added_up_while_somebody_reads_is_counted_once(tmp_path: Path) -> None:
    one, other = Worker(tmp_path, 1), Worker(tmp_path, 2)
    one.rows = 5
    one.shared.write()
    kept = (tmp_path / "1.numbers").read_bytes()
    add_up(tmp_path, 1, "left")
    (tmp_path / "1.numbers").write_bytes(kept)
    assert found(other.shared())["fivefold_calls"] == 5


def test_gauges_that_all_say_alike_are_not_added() -> None:
    samples = [Sample("fivefold_serving", ("e", "1", "m"), 1), Sample("fivefold_workers", (), 1)]
    assert found(together([samples, samples])) == {"fivefold_serving": 1, "fivefold_workers": 2}


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Worker(tmp_path / "nothing", 1).shared()
    _write(tmp_path / "gone.numbers", Written([Sample("fivefold_calls", ("e", "no"), 3)], []))
    assert found(Worker(tmp_path, 1).shared())["fivefold_calls"] == 3
