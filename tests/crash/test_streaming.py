"""A stream worker, an archiver or a bootstrap that is killed at any commit, and goes on, is as never killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import stream_checks
import stream_project as sp
from dying import DYING

from fivefold.data.archive import OFFSET
from fivefold.data.snapshots import part_file, stretch_of
from fivefold.mlops.materialise import materialise_views
from fivefold.realtime.streams.streaming import Streaming
from fivefold.realtime.streams.worker import read_letter
from fivefold.workspace.events import LETTERS, intake_space

END = sp.START + 400 * sp.MINUTE
SINCE = sp.START + 20 * sp.MINUTE

# argv: the project, what to do, and before or after which commit to die (0: never)
CHILD = DYING + """
from pathlib import Path
folder, what, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

import fivefold.realtime.streams.archiving as archiving, fivefold.realtime.streams.ownership as ownership
import fivefold.realtime.streams.streaming as streaming, fivefold.realtime.streams.worker as worker
from fivefold.backends.lmdb.online import Lmdb
from fivefold.catalog.snapshots import Snapshots
from fivefold.mlops.materialise import materialise_views
from fivefold.workspace import open_workspace
archiving.LEASE = ownership.LEASE = 200_000
worker.PartitionWorker.__init__.__defaults__ = (20,)
for owner, name in [(Lmdb, "commit"), (Lmdb, "replace"), (Lmdb, "drop"), (Snapshots, "record"), (os, "replace")]:
    watched(owner, name)
for name in ("_to_archive", "_into_history", "_forget"):
    watched(archiving, name)
with open_workspace(folder) as workspace:
    if what == "materialise":
        materialise_views(workspace, [], int(sys.argv[4]))
    else:
        with streaming.Streaming(workspace) as working:
            while working.step():
                working.archive()
print(done)
"""


def child(folder: Path, what: str, dies_at: int = 0) -> int:
    """How many steps there were, or -9 when it was killed at one."""
    made = subprocess.run([sys.executable, "-c", CHILD, str(folder), what, str(dies_at), str(SINCE)], capture_output=True,
                          text=True, timeout=120, check=False)
    if made.returncode == -9:
        return -9
    assert made.returncode == 0, made.stderr
    return int(made.stdout)


def finished(folder: Path, what: str) -> dict[str, Any]:
    """All that there is to see once everything was done, in an order of its own."""
    with sp.opened(folder) as workspace:
        if what == "materialise":
            materialise_views(workspace, [], SINCE)
        with Streaming(workspace) as streaming:
            until = time.monotonic() + 30
            while streaming.reports()[0].waiting and time.monotonic() < until:
                streaming.step(0.05)
            streaming.archive()
            (report,) = streaming.reports()
        kept = workspace.find_snapshot("sales")
        assert kept is not None
        rows = [(stretch_of(p), row) for p in kept.parts
                for row in pq.read_table(part_file(workspace.places.tables, "sales", p.digest)).to_pylist()]
        store = workspace.online()
        try:
            letters = {p: [read_letter(raw) for _, raw in store.scan(intake_space("sales", p), prefix=LETTERS)]
                       for p in report.standings}
        finally:
            store.close()
        stream_checks.assert_no_skew(workspace, [END])
        # when it arrived is the broker's word, and the same broker's log was copied
        return {
            "counts": {p: (s.read, s.on_time, s.late, s.dead, s.duplicate, s.newest, s.applied) for p, s in report.standings.items()},
            "letters": letters,
            "archive": sorted(((at.partition, row[OFFSET], str(row)) for at, row in rows if at is not None)),
            "answers": [stream_checks.looked_up(workspace, at) for at in (END, END + 1, END + 100 * sp.MINUTE)],
        }


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with events waiting, some of them applied and in the archive already."""
    root = tmp_path / "shop"
    sp.make(root, sp.events(1, 40), '[default]\nstream = "log:.fivefold/streams?partitions=2"\n')
    rows = sp.events(2, 140, sp.START + 30 * sp.MINUTE)
    with sp.opened(root) as workspace:
        sp.applied(workspace)
        materialise_views(workspace, [], sp.START)
        sp.send(workspace, [*rows[:30], b"poison"])
        with Streaming(workspace) as streaming:
            streaming.drain()
            streaming.archive()
            sp.send(workspace, [*rows[30:70], rows[3], b"{"])
            streaming.drain()
        sp.send(workspace, [*rows[70:], rows[40], b"[]"])
    return root


def killed(shop: Path, tmp_path: Path, what: str, points: Any) -> None:
    def copy(name: str) -> Path:
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        return Path(shutil.copytree(shop, tmp_path / name, symlinks=True))

    steps = child(copy("whole"), what)
    wanted = finished(tmp_path / "whole", what)
    assert sum(c[0] for c in wanted["counts"].values()) == 145
    for point in points(steps):
        assert child(copy("copy"), what, point) == -9, point
        assert finished(tmp_path / "copy", what) == wanted, point


@pytest.mark.parametrize("what", ["work", "materialise"])
def test_killed_at_some_commits_it_ends_as_never_killed(shop: Path, tmp_path: Path, what: str) -> None:
    killed(shop, tmp_path, what, lambda steps: range(2, steps + 1, steps // 5))


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("what", ["work", "materialise"])
def test_killed_at_every_commit_it_ends_as_never_killed(shop: Path, tmp_path: Path, what: str) -> None:
    killed(shop, tmp_path, what, lambda steps: range(1, steps + 1))
