"""A small shop: orders of customers, returned or not; made anew for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fivefold.core.learning import Model
from fivefold.demo.start import start
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import Outcome, apply
from fivefold.mlops.train import Trained, train
from fivefold.workspace import Workspace, open_workspace


class Shop:
    """A project folder, a clock that is held, and the commands as calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1_800_000_000_000_000
        start(root, "blank")

    def edit(self, old: str, new: str, file: str = "project.py") -> None:
        text = (self.root / file).read_text()
        assert old in text
        (self.root / file).write_text(text.replace(old, new))

    def write(self, project: str) -> None:
        (self.root / "project.py").write_text("import fivefold as ff\n" + project)

    @contextmanager
    def open(self, env: str = "dev", **more: Any) -> Iterator[Workspace]:
        with open_workspace(self.root, env=env, actor="ann", clock=self.tick, **more) as workspace:
            yield workspace

    def tick(self) -> int:
        self.now += 1_000_000
        return self.now

    def plan(self, env: str = "dev") -> plans.Plan:
        with self.open(env) as w:
            plans.check(w)
            return plans.plan(w)

    def apply(self, env: str = "dev") -> Outcome:
        with self.open(env) as w:
            return apply(w, plans.check(w), plans.plan(w))

    def train(self, name: str = "returned", env: str = "dev") -> Trained:
        with self.open(env) as w:
            model = w.project.get("model", name)
            assert isinstance(model, Model)
            return train(w, model, plans.check(w).schemas)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


@pytest.fixture
def make_shop(tmp_path: Path) -> Callable[[str], Shop]:
    return lambda name: Shop(tmp_path / name)
