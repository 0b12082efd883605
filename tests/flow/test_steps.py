"""A step runs once, whoever resumes the work; a stale worker's result is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from fivefold.catalog import open_catalog
from fivefold.core.errors import Conflict, Invalid
from fivefold.flow.steps import steps_of


def test_a_finished_step_is_remembered(sqlite_url: str) -> None:
    with open_catalog(sqlite_url, "p") as catalog:
        for result in ("first", "second"):
            with steps_of(catalog.journal, "w", "test") as steps:
                assert steps.run("one", partial(str, result)) == "first"
        assert catalog.journal.work("w").status == "done"


def test_a_failed_step_is_run_again_and_the_work_ends_well(sqlite_url: str) -> None:
    def fails() -> None:
        raise Invalid("no luck")

    with open_catalog(sqlite_url, "p") as catalog:
        with pytest.raises(Invalid), steps_of(catalog.journal, "w", "test") as steps:
            steps.run("one", fails)
        assert catalog.journal.work("w").status == "failed"
        with steps_of(catalog.journal, "w", "test") as steps:
            assert steps.run("one", lambda: "well") == "well"
        assert catalog.journal.work("w").status == "done"


def test_two_workers_never_run_one_step_both(sqlite_url: str) -> None:
    ran: list[int] = []
    with open_catalog(sqlite_url, "p") as catalog:
        def work(number: int) -> None:
            with steps_of(catalog.journal, "w", "test") as steps:
                steps.run("one", lambda: ran.append(number))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(ran) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from fivefold.catalog import open_catalog
from fivefold.flow.steps import steps_of
with open_catalog(sys.argv[1], "p") as catalog, steps_of(catalog.journal, "w", "test") as steps:
    for n in range(4):
        def do(n=n):
            with open(sys.argv[2], "a") as f:
                f.write(f"{n}\\n")
            if n == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
            return n
        steps.run(f"step-{n}", do)
"""


@pytest.mark.parametrize("at", [0, 2])
def test_a_killed_work_goes_on_where_it_was(sqlite_url: str, tmp_path: Path, at: int) -> None:
    ledger = tmp_path / "ledger"
    done = subprocess.run([sys.executable, "-c", KILLED, sqlite_url, str(ledger), str(at)])
    assert done.returncode == -signal.SIGKILL
    said: list[str] = []
    again: list[int] = []
    with open_catalog(sqlite_url, "p") as catalog, steps_of(catalog.journal, "w", "test", say=said.append) as steps:
        for n in range(4):
            steps.run(f"step-{n}", partial(again.append, n))
    assert ledger.read_text().split() == [*map(str, range(at + 1))]
    assert again == list(range(at, 4))
    assert "held by another worker" in said[0]


def test_a_worker_that_was_given_up_cannot_finish(sqlite_url: str) -> None:
    now = [1_000_000]
    with open_catalog(sqlite_url, "p", clock=lambda: now[0]) as catalog:
        catalog.journal.begin("w", "test")
        late = catalog.journal.claim("w", "one", "slow", 1_000)
        now[0] += 5_000
        with steps_of(catalog.journal, "w", "test") as steps:
            assert steps.run("one", lambda: "mine") == "mine"
        with pytest.raises(Conflict):
            catalog.journal.finish("w", "one", late.fence, "stale")  # type: ignore[union-attr]
