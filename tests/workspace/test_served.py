from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fivefold.core.errors import Conflict, Invalid, NotFound, Unsupported
from fivefold.core.learning import Model
from fivefold.demo.start import start
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.train import train
from fivefold.workspace import Workspace, open_workspace
from fivefold.workspace.served import champion, meaning, online_name, package_folder, require_current

UDF = '''

def twice(x):
    return x * 2

doubled = ff.Udf("doubled", twice, ["amount"], float)
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    start(tmp_path / "shop", "blank")
    project = tmp_path / "shop" / "project.py"
    project.write_text(project.read_text().replace("returned = ff.Model(", UDF + "returned = ff.Model(").replace(
        'ff.Request("amount", float)]', 'ff.Request("amount", float), doubled]'))
    with open_workspace(tmp_path / "shop", actor="ann") as w:
        apply(w, plans.check(w), plans.plan(w))
        model = w.project.get("model", "returned")
        assert isinstance(model, Model)
        promote(w, train(w, model, plans.check(w).schemas).version)
    return tmp_path / "shop"


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with open_workspace(root, actor="ann") as w:
        yield w


def edit(root: Path, old: str, new: str) -> None:
    text = (root / "project.py").read_text()
    assert old in text
    (root / "project.py").write_text(text.replace(old, new))


def test_a_champion_comes_with_the_declarations_it_was_trained_under(root: Path, workspace: Workspace) -> None:
    used = champion(workspace, "returned")
    view = used.views[0]
    assert used.online_name(view) == online_name(workspace.project, view)
    edit(root, 'over="30d"', 'over="7d"')
    with open_workspace(root) as later:
        again = champion(later, "returned")
        (now,) = later.project.of("feature_view")
        assert [f.name for f in again.views[0].features] == ["count_30d", "sum_amount_30d", "last_amount"]
        assert again.online_name(again.views[0]) == used.online_name(view) != online_name(later.project, now)  # type: ignore[arg-type]


def test_code_that_changed_is_refused_yet_its_features_can_still_be_made(root: Path) -> None:
    edit(root, "return x * 2", "return x * 3")
    with open_workspace(root) as w:
        with pytest.raises(Unsupported, match="udf:doubled, whose code has changed since"):
            champion(w, "returned")
        assert [v.name for v in meaning(w, w.catalog.versions.get("returned", 1)).views] == ["spending"]


def test_without_a_champion_it_says_how_to_get_one(workspace: Workspace) -> None:
    workspace.catalog.aliases.move("returned", "champion", None, expected=1, actor="ann")
    with pytest.raises(NotFound, match="'returned' has no champion yet. Run `fivefold train returned`"):
        champion(workspace, "returned")


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "emptied"])
def test_a_package_damaged_here_is_fetched_anew(workspace: Workspace, damage: str) -> None:
    before = champion(workspace, "returned")
    folder = package_folder(workspace, before.version)
    about = folder / "fivefold.json"
    match damage:
        case "changed":
            about.write_bytes(b"x")
        case "missing":
            about.unlink()
        case "added":
            (folder / "more").write_text("x")
        case "emptied":
            for file in folder.iterdir():
                if file.is_file():
                    file.unlink()
    assert champion(workspace, "returned").loaded.about == before.loaded.about
    assert sorted(p.name for p in folder.parent.iterdir()) == [".lock", before.version.artifact]


def test_a_package_damaged_in_the_store_is_refused_and_not_used(workspace: Workspace) -> None:
    used = champion(workspace, "returned")
    folder = package_folder(workspace, used.version)
    for file in (workspace.state / "artifacts").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(file.read_bytes()[:-1] + b"?")
    (folder / "fivefold.json").write_bytes(b"x")
    with pytest.raises(Invalid):
        champion(workspace, "returned")
    assert not folder.exists()


def test_those_that_fetch_or_mend_a_package_at_once_all_get_it(workspace: Workspace) -> None:
    used = champion(workspace, "returned")
    for turn in range(6):
        folder = package_folder(workspace, used.version)
        if turn % 2:
            shutil.rmtree(folder)
        else:
            (folder / "fivefold.json").write_bytes(b"x")
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(lambda _: champion(workspace, "returned").loaded.about, range(3)))
        assert found == [used.loaded.about] * 3


def test_data_that_means_something_else_than_in_training_is_a_conflict(root: Path) -> None:
    edit(root, 'id="order_id"', 'id="order_id", delay="1h"')
    with open_workspace(root) as w, pytest.raises(Conflict, match="returned@1 was trained when table:orders meant"):
        require_current(w, champion(w, "returned"))
    edit(root, 'id="order_id", delay="1h"', 'id="order_id"')
    with open_workspace(root) as w:
        require_current(w, champion(w, "returned"), "orders")
