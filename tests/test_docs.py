"""What the documentation says is true: its code runs, its names exist, and no name is left out."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import fivefold as ff
from fivefold.core.config import environment, settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_project_of_the_readme_is_sound(tmp_path: Path) -> None:
    from fivefold.mlops import plan as plans
    from fivefold.workspace import open_workspace

    (project,) = blocks("python")
    (tmp_path / "project.py").write_text(project)
    (tmp_path / "fivefold.toml").write_text('project = "shop"\n')
    (tmp_path / "data" / "shipments").mkdir(parents=True)
    orders = "order_id,customer_id,ordered_at,returns_close_at,amount,country,returned\n1,c,2026-01-01,2026-02-01,5.5,DE,true\n"
    (tmp_path / "data" / "orders.csv").write_text(orders)
    (tmp_path / "data" / "open_orders.csv").write_text(orders)
    import datetime

    import pyarrow as pa
    import pyarrow.parquet as pq
    pq.write_table(pa.table({"order_id": [1], "shipped_at": [datetime.datetime(2026, 1, 2)]}), tmp_path / "data" / "shipments" / "1.parquet")
    with open_workspace(tmp_path) as workspace:
        plans.check(workspace)
        assert len(plans.plan(workspace).items) >= 12


def test_the_configuration_of_the_readme_is_accepted() -> None:
    (text,) = blocks("toml")
    prod = environment(settings(text), "prod", {"S3_KEY": "k", "S3_SECRET": "s"})
    assert set(prod.tables) == {"orders", "shipments"}


def test_every_command_of_the_readme_exists() -> None:
    from fivefold.cli.main import app

    names = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    names |= {g.name for g in app.registered_groups if isinstance(g.name, str)}
    named = set(re.findall(r"`fivefold ([a-z][a-z-]*)", README)) | {"rollback", "history", "restore", "serve", "quarantine"}
    assert named <= names
    assert all(f"{name}" in README for name in names)


@pytest.mark.parametrize("name", ff.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(ff, name)
    assert (thing.__doc__ or "").strip(), name


def test_the_front_door_is_what_it_says() -> None:
    public = {n for n, v in vars(ff).items() if not n.startswith("_") and getattr(v, "__module__", "").startswith("fivefold")}
    assert public == set(ff.__all__)


def test_every_folder_of_the_readme_exists_and_every_extra_is_named() -> None:
    for folder in re.findall(r"`(src/fivefold/[a-z_]+)`", README):
        assert (ROOT / folder).is_dir()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in extras:
        assert f"`{extra}`" in README


def test_no_path_of_a_machine_and_no_index_is_in_the_lock() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("://" not in line and " @ " not in line for line in lines)
    assert "torch==2.13.0" in lines


def test_importing_the_front_door_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = "duckdb pyarrow numpy sqlalchemy sqlglot pandas lightgbm sklearn torch uvicorn rich typer"
    code = f"import sys, fivefold; print([m for m in {heavy.split()} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
