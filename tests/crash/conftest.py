"""Processes that kill themselves with -9 at the n-th thing they do, and a shop to do it in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dying import DYING

from fivefold.core.learning import Model
from fivefold.demo.start import start
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.train import train
from fivefold.workspace import open_workspace

JOB = '''
baskets = ff.Table("baskets", "data/baskets.csv", time="asked_at", id="basket", schema={
    "basket": int, "customer_id": str, "asked_at": "timestamp", "amount": float, "day": str})
job = ff.BatchJob("job", returned, over=baskets, into=ff.Table("scores", "out/scores", partition="day"))
'''

# argv: how many things to do before dying (0: never), then the words of the command line
DRIVER = DYING + """
last = int(sys.argv.pop(1))

import fivefold.batch.score, fivefold.flow.steps, fivefold.features.increment, fivefold.features.materialise
from fivefold.backends.lmdb.online import Lmdb
from fivefold.catalog.journal import Journal
fivefold.flow.steps.LEASE = 300_000
fivefold.features.increment.ROWS, fivefold.features.materialise.COMMIT = 60, 20
fivefold.batch.score.score.__kwdefaults__["chunk_rows"] = 15
for name in ("replace", "fsync", "symlink"):
    watched(os, name)
for name in ("begin", "claim", "finish", "end"):
    watched(Journal, name)
clear = Lmdb._clear
def cleared(transaction, prefix):
    step()
    clear(transaction, prefix)
    step()
Lmdb._clear = staticmethod(cleared)
watched(Lmdb, "commit")
import atexit
atexit.register(lambda: print("steps:", done, file=sys.stderr))
from fivefold.cli.main import run
run()
"""


def basket(i: int) -> str:
    who = "" if i % 13 == 12 else f"c{i % 50}"
    return f"{i},{who},2026-02-2{i % 8}T0{i % 10}:00:00,{i * 1.3},{['mon', 'tue/1', ''][i % 3]}\n"


class Shop:
    """A project folder, and its command line as a process that dies when told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scores = root / "out" / "scores"

    def baskets(self, count: int) -> None:
        (self.root / "data" / "baskets.csv").write_text(
            "basket,customer_id,asked_at,amount,day\n" + "".join(map(basket, range(count))))
        with open_workspace(self.root, actor="ann") as w:
            apply(w, plans.check(w), plans.plan(w))

    def run(self, *words: str, dies_at: int = 0) -> int:
        """Run a command. Returns how many things it did, or -9 when it was killed."""
        process = self.begin(*words, dies_at=dies_at)
        _, err = process.communicate(timeout=120)
        if process.returncode == -9:
            return -9
        assert process.returncode == 0, err
        return int(err.rpartition("steps:")[2])

    def begin(self, *words: str, dies_at: int = 0) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", DRIVER, str(dies_at), *words, "--project", str(self.root)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def published(self) -> dict[str, bytes]:
        here = self.scores.resolve()
        return {p.relative_to(here).as_posix(): p.read_bytes() for p in here.rglob("*") if p.is_file()}

    def copy(self, to: Path) -> Shop:
        shutil.rmtree(to, ignore_errors=True)
        return Shop(Path(shutil.copytree(self.root, to, symlinks=True)))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with a champion whose job has published once, and has more to score now."""
    root = tmp_path / "shop"
    start(root, "blank")
    project = root / "project.py"
    project.write_text(project.read_text() + JOB)
    made = Shop(root)
    made.baskets(20)
    with open_workspace(root, actor="ann") as w:
        model = w.project.get("model", "returned")
        assert isinstance(model, Model)
        promote(w, train(w, model, plans.check(w).schemas).version)
    made.run("score", "job")
    made.baskets(60)
    return made
