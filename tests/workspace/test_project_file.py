from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fivefold.core.config import Settings
from fivefold.core.errors import NotFound
from fivefold.workspace.project_file import find_root, load_project

TEXT = "import fivefold as ff\nfrom helper import URL\nt = ff.Table('t', URL)\n"


def test_the_nearest_project_upwards_is_found(tmp_path: Path) -> None:
    (tmp_path / "p" / "a" / "b").mkdir(parents=True)
    (tmp_path / "p" / "fivefold.toml").write_text("")
    assert find_root(tmp_path / "p" / "a" / "b") == tmp_path / "p"
    with pytest.raises(NotFound, match="fivefold init"):
        find_root(tmp_path)


def test_a_project_file_may_import_its_neighbours_and_leaves_no_path_behind(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("URL = 'x.csv'\n")
    (tmp_path / "project.py").write_text(TEXT)
    before = list(sys.path)
    project = load_project(tmp_path, Settings())
    assert project.nouns["table:t"].url == "x.csv"  # type: ignore[attr-defined]
    assert sys.path == before


def test_importing_a_project_does_no_io(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text("import fivefold as ff\nt = ff.Table('t', 'nowhere/*.csv')\n")
    before = sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in str(p))
    load_project(tmp_path, Settings())
    assert sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in str(p)) == before


def test_where_a_project_lies_does_not_count(tmp_path: Path) -> None:
    text = ("import fivefold as ff\nimport numpy as np\nRATE = 2.0\ndef double(x):\n    return x * RATE\n"
            "class Mine:\n    def fit(self, x, y): self.m = y.mean()\n    def predict(self, x): return np.full(len(x), self.m)\n"
            "t = ff.Table('t', 't.csv', time='at')\n"
            "m = ff.Model('m', ff.Target(t, 'y'), [ff.Request('x', float), ff.Udf('twice', double, ['x'], float)],"
            " ff.learner('object', Mine), ff.RandomSplit())\n")
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "project.py").write_text(text)
        digests.append(load_project(tmp_path / name, Settings()).digest)
    assert digests[0] == digests[1]
    (tmp_path / "b" / "project.py").write_text(text.replace("RATE = 2.0", "RATE = 3.0"))
    assert load_project(tmp_path / "b", Settings()).digest != digests[0]
