"""A shop with a champion and rows to score, made once and copied for each test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fivefold.batch.score import Scored, score
from fivefold.core.learning import Model
from fivefold.core.uses import BatchJob
from fivefold.demo.start import start
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.train import train
from fivefold.workspace import Workspace, open_workspace

PROJECT = '''
import fivefold as ff

orders = ff.Table("orders", "data/orders.csv", time="ordered_at", id="order_id")
customer = ff.Entity("customer", key="customer_id")
spending = ff.FeatureView("spending", customer, orders, [ff.count(over="30d"), ff.sum("amount", over="30d"), ff.last("amount")])
returned = ff.Model("returned", ff.Target(orders, "returned"), learner=ff.learner("logistic", l2=1.0),
    features=[spending, ff.Request("amount", float), ff.Request("items", int), ff.Derived("ratio", "amount / sum_amount_30d")],
    split=ff.RandomSplit(0.2), gates=[ff.Gate("auc", at_least=0.5)])
baskets = ff.Table("baskets", "data/baskets.csv", time="asked_at", id="basket", schema={
    "basket": int, "customer_id": str, "asked_at": "timestamp", "amount": float, "items": int, "shop": str})
job = ff.BatchJob("job", returned, over=baskets, into=ff.Table("scores", "out/scores"))
live = ff.Endpoint("returned", returned)
'''
HEADER = "basket,customer_id,asked_at,amount,items,shop\n"
SHOPS = ["a/b", "100%", "größe ü", "", ".", "..", "a=b&c", "__HIVE_DEFAULT_PARTITION__", "x:y z+w", "\\N"]


class Shop:
    """A project folder, the commands as calls and as processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scores = root / "out" / "scores"

    @contextmanager
    def open(self) -> Iterator[Workspace]:
        with open_workspace(self.root, actor="ann") as workspace:
            yield workspace

    def edit(self, old: str, new: str) -> None:
        text = (self.root / "project.py").read_text()
        assert old in text
        (self.root / "project.py").write_text(text.replace(old, new))

    def baskets(self, lines: Sequence[str]) -> None:
        (self.root / "data" / "baskets.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))

    def apply(self) -> None:
        with self.open() as w:
            apply(w, plans.check(w), plans.plan(w))

    def release(self) -> int:
        with self.open() as w:
            model = w.project.get("model", "returned")
            assert isinstance(model, Model)
            version = train(w, model, plans.check(w).schemas).version
            assert promote(w, version).champion
        return version.number

    def score(self, **more: Any) -> Scored:
        with self.open() as w:
            job = w.project.get("batch_job", "job")
            assert isinstance(job, BatchJob)
            return score(w, job, **more)

    def process(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program, str(self.root), *words], capture_output=True, text=True,
                              timeout=120)

    def start(self, program: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", program, str(self.root), *words], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def basket(i: int, *, who: str | None = None, at: str | None = None, amount: str | None = None, items: int = 1,
           shop: str = "s") -> str:
    at = f"2026-02-2{i % 8}T0{i % 10}:00:00" if at is None else at
    return f"{i},{f'c{i % 45}' if who is None else who},{at},{i * 0.7 if amount is None else amount},{items},{shop}"


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "shop"
    start(root, "blank")
    (root / "project.py").write_text(PROJECT)
    # the model has a count of items too, which the blank template does not know
    lines = (root / "data" / "orders.csv").read_text().splitlines()
    (root / "data" / "orders.csv").write_text("\n".join(
        [lines[0] + ",items", *(f"{line},{i % 3}" for i, line in enumerate(lines[1:]))]) + "\n")
    shop = Shop(root)
    shop.baskets([basket(i, shop=f"s{i % 3}") for i in range(100)])
    shop.apply()
    shop.release()
    return root


@pytest.fixture
def shop(_made: Path, tmp_path: Path) -> Shop:
    """A shop with a champion and a hundred baskets to score."""
    return Shop(Path(shutil.copytree(_made, tmp_path / "shop", symlinks=True)))
