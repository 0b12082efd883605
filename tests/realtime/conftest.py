"""A shop made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shop_project import PROJECT, ROW, Asker, Server, Shop
from steps_project import Stepped, make

from fivefold.demo.start import start


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "shop"
    start(root, "blank")
    (root / "project.py").write_text(PROJECT)
    shop = Shop(root)
    shop.release()
    shop.materialise()
    return root


@pytest.fixture
def shop(_made: Path, tmp_path: Path) -> Shop:
    """A shop with one version, which is champion, and features as of AT."""
    # without what others asked the one it is copied from
    return Shop(Path(shutil.copytree(_made, tmp_path / "shop", ignore=shutil.ignore_patterns("log"))))


@pytest.fixture(scope="module")
def one_server(_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that several tests ask, and none changes."""
    # its log is not that of the shops that are copied later
    with Shop(Path(shutil.copytree(_made, tmp_path_factory.mktemp("one") / "shop"))).serve() as server:
        yield server


@pytest.fixture(scope="module")
def one_application(_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """An application that several tests ask; what it logs is in a folder of its own."""
    with Shop(Path(shutil.copytree(_made, tmp_path_factory.mktemp("one") / "shop"))).app() as asker:
        yield asker


@pytest.fixture(scope="session")
def _made_of_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("steps") / "shop"
    make(root)
    return root


@pytest.fixture
def stepped(_made_of_steps: Path, tmp_path: Path) -> Stepped:
    """A shop with endpoints of several steps, `blend` and `chain`, of four champions."""
    return Stepped(Path(shutil.copytree(_made_of_steps, tmp_path / "shop", ignore=shutil.ignore_patterns("log"))))


@pytest.fixture(scope="module")
def one_stepped(_made_of_steps: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """Its application, which several tests ask."""
    with Stepped(Path(shutil.copytree(_made_of_steps, tmp_path_factory.mktemp("one") / "shop"))).app() as asker:
        yield asker


@pytest.fixture
def untrained(tmp_path: Path) -> Shop:
    """A shop that is not even applied."""
    start(tmp_path / "untrained", "blank")
    (tmp_path / "untrained" / "project.py").write_text(PROJECT)
    return Shop(tmp_path / "untrained")


@pytest.fixture
def row() -> dict[str, Any]:
    return dict(ROW)
