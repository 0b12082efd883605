"""The command line, in processes of its own: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fivefold import __version__


def fivefold(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fivefold.cli.main", *words], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "FIVEFOLD_ACTOR": "ann", "COLUMNS": "200", **env})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been applied and trained; tests that change it use `copy`."""
    folder = tmp_path_factory.mktemp("cli") / "my shop ü"
    assert fivefold("init", str(folder)).returncode == 0
    assert fivefold("apply", cwd=folder).returncode == 0
    assert fivefold("train", "returned", cwd=folder).returncode == 0
    return folder


def test_version_and_help_teach() -> None:
    assert fivefold("--version").stdout == f"fivefold {__version__}\n"
    text = fivefold("--help").stdout
    for command in ("init", "plan", "apply", "train", "promote", "rollback", "history", "restore", "materialize", "serve", "score", "get"):
        assert command in text
    assert "fivefold init DIR" in text


def test_every_command_has_a_help_of_its_own() -> None:
    from fivefold.cli.main import app

    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__, command.callback.__name__


def test_the_first_hour_from_nothing(tmp_path: Path) -> None:
    made = fivefold("init", "first", cwd=tmp_path)
    assert "fivefold plan" in made.stdout
    first = tmp_path / "first"
    assert fivefold("plan", "--check", cwd=first).returncode == 2
    assert "applied 6 declarations" in fivefold("apply", cwd=first).stdout
    assert fivefold("plan", "--check", cwd=first).returncode == 0
    assert "nothing changed" in fivefold("apply", cwd=first).stdout
    trained = fivefold("train", "returned", cwd=first)
    assert "returned@1" in trained.stdout
    assert "returned@1 is champion" in trained.stdout
    assert "nothing to do" in fivefold("train", "returned", cwd=first).stdout
    assert "spending" in fivefold("materialize", cwd=first).stdout


def test_commands_work_from_any_folder_below_the_project(shop: Path) -> None:
    assert fivefold("plan", cwd=shop / "data").returncode == 0
    assert fivefold("plan", "--project", str(shop), cwd=Path("/")).returncode == 0


def test_outside_a_project_it_says_what_to_do(tmp_path: Path) -> None:
    done = fivefold("plan", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: no fivefold.toml in")
    assert "fivefold init" in done.stderr


def test_init_never_overwrites(shop: Path) -> None:
    done = fivefold("init", str(shop))
    assert (done.returncode, "not empty" in done.stderr) == (1, True)
    assert "Did you mean 'flights'" in fivefold("init", "/nowhere/x", "--template", "flihgts").stderr


@pytest.mark.parametrize(("text", "message"), [
    ("import fivefold as ff\nx = (", "project.py, line 2"), ("import fivefold as ff\n\n1 / 0", "project.py, line 3: ZeroDivisionError"),
    ("import fivefold as ff\nff.Table('A', 'x')", "project.py, line 2: Table: 'A' is not a name"),
    ("import nothing_like_it", "ModuleNotFoundError")])
def test_a_broken_project_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    fivefold("init", "p", cwd=tmp_path)
    (tmp_path / "p" / "project.py").write_text(text)
    done = fivefold("plan", cwd=tmp_path / "p")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("text", "message"), [
    ("project = 3", "project"), ("projct = 'x'", "projct"), ("[env.prod]\ncatlog = 'x'", "Did you mean 'catalog'"),
    ("[env.prod]\ncatalog = 'env:FF_NOT_SET'", "'FF_NOT_SET' is not set"), ("= 1", "fivefold.toml")])
def test_a_broken_configuration_is_named(tmp_path: Path, text: str, message: str) -> None:
    fivefold("init", "p", cwd=tmp_path)
    (tmp_path / "p" / "fivefold.toml").write_text(text)
    done = fivefold("plan", "--env", "prod" if "prod" in text else "dev", cwd=tmp_path / "p")
    assert (done.returncode, message in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("words", [["plan"], ["apply"], ["list", "models"], ["list", "runs"], ["list", "versions"],
                                   ["list", "jobs"], ["list", "aliases"], ["list", "snapshots"], ["list", "audit"],
                                   ["list", "predictions"], ["list", "feature-views"], ["list", "entities"],
                                   ["history", "returned"], ["train", "returned"], ["quarantine", "orders"]])
def test_everything_that_lists_prints_json_too(shop: Path, words: list[str]) -> None:
    done = fivefold(*words, "--json", cwd=shop)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert fivefold(*words, cwd=shop).returncode == 0


def test_a_version_tells_everything_it_was_made_of(shop: Path) -> None:
    (version,) = json.loads(fivefold("list", "versions", "--json", cwd=shop).stdout)
    info: Any = version["info"]
    assert (version["model"], version["version"], version["aliases"], version["by"]) == ("returned", 1, "champion", "ann")
    assert set(info["inputs"]) == {"model", "snapshots", "scales", "environment", "seed", "threads"}
    assert set(info["closure"]) == {"table:orders", "entity:customer", "feature_view:spending", "request:amount", "model:returned"}


def test_an_unknown_name_is_met_with_the_nearest(shop: Path) -> None:
    assert "Did you mean 'returned'" in fivefold("train", "retruned", cwd=shop).stderr
    assert "Did you mean 'version'" in fivefold("list", "verison", cwd=shop).stderr
    assert "Did you mean 'orders'" in fivefold("infer", "ordres", cwd=shop).stderr
    assert fivefold("history", "nothing", cwd=shop).returncode == 1


def test_a_failed_promotion_exits_with_three(tmp_path: Path) -> None:
    fivefold("init", "p", cwd=tmp_path)
    project = tmp_path / "p" / "project.py"
    project.write_text(project.read_text().replace("at_least=0.6", "at_least=0.99"))
    fivefold("apply", cwd=tmp_path / "p")
    trained = fivefold("train", "returned", cwd=tmp_path / "p")
    assert trained.returncode == 0
    assert "FAILED: auc is" in trained.stdout
    assert fivefold("promote", "returned@1", cwd=tmp_path / "p").returncode == 3


def test_interrupting_says_how_to_go_on(tmp_path: Path) -> None:
    import signal
    import time

    fivefold("init", "p", cwd=tmp_path)
    data = tmp_path / "p" / "data" / "orders.csv"
    head, *rows = data.read_text().splitlines()
    data.write_text("\n".join([head, *(r.replace(r.split(",")[0], str(i), 1) for i, r in enumerate(rows * 500))]) + "\n")
    with subprocess.Popen([sys.executable, "-m", "fivefold.cli.main", "apply"], cwd=tmp_path / "p",
                          stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as running:
        while not (tmp_path / "p" / ".fivefold" / "scratch").exists():
            time.sleep(0.02)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        said = running.stderr.read()
        code = running.wait()
    if code != 0:  # it may have been faster
        assert (code, said) == (130, "interrupted; run the same command again to go on.\n")
    assert fivefold("apply", cwd=tmp_path / "p").returncode == 0
