"""What docs/federated.md says can be done: its project is declared, its commands run, its tables are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.main import get_command

from fivefold.cli.main import app
from fivefold.federated.course.hosting import Event
from fivefold.federated.rounds.policy import read_policy

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "federated.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.S)


def test_the_project_is_declared_and_the_commands_run(tmp_path: Path) -> None:
    (project,), (commands,) = blocks("python"), blocks("sh")
    (tmp_path / "project.py").write_text(project)
    (tmp_path / "fivefold.toml").write_text('project = "health"\n')
    (tmp_path / "data").mkdir()
    random, lines = np.random.default_rng(0), ["id,clinic,at,age,bmi,ill"]
    for i in range(1200):
        age, bmi = random.normal(50, 15), random.normal(26, 4)
        ill = random.random() < 1 / (1 + np.exp(-((age - 50) / 10 + (bmi - 26) / 4)))
        lines.append(f"{i},{'abcd'[i % 4]},2026-01-{i // 4 % 28 + 1:02},{age:.3f},{bmi:.3f},{str(ill).lower()}")
    (tmp_path / "data" / "visits.csv").write_text("\n".join(lines) + "\n")
    setting = f'set -euo pipefail\nfivefold() {{ {sys.executable} -m fivefold.cli.main "$@"; }}\n'
    done = subprocess.run(["bash", "-c", setting + commands], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 sites" in done.stdout
    assert "passed: auc is" in done.stdout
    # a simulation spends nothing
    assert re.search(r"clinics +view:visits|clinics +table:visits by row +0 ", done.stdout), done.stdout


@pytest.mark.parametrize("line", re.findall(r"fivefold federate [^`\n]+", DOCS))
def test_every_command_and_option_exists(line: str) -> None:
    words = line.split(">")[0].split()[2:]
    commands = get_command(app).commands["federate"].commands  # type: ignore[attr-defined]
    assert words[0] in commands or words[0].startswith("-"), line
    if words[0] in commands:
        known = {option for parameter in commands[words[0]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_policy_is_accepted_and_every_field_of_an_event_is_told() -> None:
    (policy,) = blocks("toml")
    assert read_policy(policy, "other").min_clients == 5
    assert read_policy(policy, "clinics").modes == ("secure",)
    fields = {field.name for field in msgspec.structs.fields(Event)}
    assert all(f"`{field}`" in DOCS for field in fields)
