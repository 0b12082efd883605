"""Federations from the command line: real processes, mutual TLS on loopback, and kill -9."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROJECT = """
import fivefold as ff

visits = ff.Table("visits", "data/visits.csv", time="at", id="id", schema={"id": int, "clinic": str, "at": "timestamp", "age": float, "bmi": float, "ill": bool})
ill = ff.Model("ill", ff.Target(visits, "ill"), [ff.Request("age", float), ff.Request("bmi", float)], learner=ff.learner("logistic"),
               split=ff.TimeSplit(test="2026-01-20"), metrics=["auc", "logloss", "brier", "accuracy"], gates=[ff.Gate("auc", at_least=0.6)])
live = ff.Endpoint("ill", ill)
clinics = ff.Federation("clinics", ill, split="clinic", rounds=3, strategy=ff.FedAvg(lr=2.0), privacy=PRIVACY)
"""
NAMES = ["ada", "bob", "cyd", "dee"]


def write_project(folder: Path, clinics: list[str], privacy: str = "ff.SecureSum(min_survivors=3)") -> None:
    """A project with the visits of some clinics: of none it knows what they are like, and no more."""
    folder.mkdir()
    (folder / "project.py").write_text(PROJECT.replace("PRIVACY", privacy))
    (folder / "fivefold.toml").write_text('project = "health"\n')
    (folder / "data").mkdir()
    lines = ["id,clinic,at,age,bmi,ill"]
    for clinic in clinics:
        random = np.random.default_rng(NAMES.index(clinic))
        for i in range(300):
            age, bmi = random.normal(50, 15), random.normal(26, 4)
            ill = random.random() < 1 / (1 + np.exp(-((age - 50) / 10 + (bmi - 26) / 4)))
            lines.append(f"{NAMES.index(clinic) * 1000 + i},{clinic},2026-01-{i % 28 + 1:02},{age:.3f},{bmi:.3f},{str(ill).lower()}")
    (folder / "data" / "visits.csv").write_text("\n".join(lines) + "\n")
    done = fivefold("apply", cwd=folder)
    assert done.returncode == 0, done.stderr


class Processes:
    """Commands that run until they are killed or end; what they print goes into files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.running = folder, dict[str, subprocess.Popen[bytes]]()

    def start(self, name: str, *words: str, given: bytes = b"", **env: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            made = subprocess.Popen([sys.executable, "-m", "fivefold.cli.main", "federate", *words], stdin=subprocess.PIPE, stdout=log, stderr=log,
                                    cwd=self.folder, env={**os.environ, "FIVEFOLD_ACTOR": "ann", **env})
        assert made.stdin is not None
        made.stdin.write(given)
        made.stdin.close()
        self.running[name] = made

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def until(self, what: Callable[[], Any], *watched: str) -> Any:
        over = time.monotonic() + 90
        while not (found := what()):
            for name in watched:
                assert self.running[name].poll() is None, self.said(name)
            assert time.monotonic() < over, {name: self.said(name)[-2000:] for name in self.running}
            time.sleep(0.05)
        return found

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()

    def ended(self, name: str) -> int:
        return self.running[name].wait(90)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


def fivefold(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "fivefold.cli.main", *words], cwd=cwd, capture_output=True,
                          env={**os.environ, "FIVEFOLD_ACTOR": "ann", "COLUMNS": "200", **env})


def told(folder: Path, *words: str) -> Any:
    done = fivefold(*words, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def begin(processes: Processes, tmp_path: Path, privacy: str) -> tuple[tuple[str, ...], Any]:
    """A server without a row, and four sites that have enrolled and take part."""
    write_project(tmp_path / "hub", [], privacy)
    server = ("server", "clinics", "--sites", "4", "--quorum", "3", "--seconds", "20", "--poll", "0.1", "--lease", "1", "--json", "--project", "hub")
    processes.start("server", *server, "--port", "0", "--enrol-port", "0")
    ports = processes.until(lambda: re.search(r"on 127.0.0.1:(\d+), enrolment on 127.0.0.1:(\d+)", processes.said("server")), "server")
    for name in NAMES:
        write_project(tmp_path / name, [name], privacy)
        invited = fivefold("federate", "invite", name, "--server", f"localhost:{ports[1]}", "--enrol", f"localhost:{ports[2]}", "--project", "hub", cwd=tmp_path)
        assert invited.returncode == 0, invited.stderr
        (tmp_path / f"{name}.invite").write_bytes(invited.stdout)
        from_file = name == "ada"
        processes.start(name, "client", "clinics", "--folder", f"{name}/site", "--project", name, "--invitation", f"{name}.invite" if from_file else "-",
                        given=b"" if from_file else invited.stdout)
    return server, ports


def events(processes: Processes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in processes.said("server").splitlines() if line.startswith("{")]


@pytest.mark.long
def test_four_clinics_train_one_drops_out_and_the_server_is_killed(processes: Processes, tmp_path: Path) -> None:
    server, ports = begin(processes, tmp_path, "[ff.SecureSum(min_survivors=3), ff.DP(epsilon=8, delta=1e-5)]")
    processes.until(lambda: any(e["event"] == "round" and e["round"] == 2 for e in events(processes)), "server", *NAMES)
    processes.kill("dee")
    processes.kill("server")
    processes.start("server", *server, "--port", ports[1], "--enrol-port", ports[2])
    assert processes.ended("server") == 0, processes.said("server")
    for name in NAMES[:3]:
        assert processes.ended(name) == 0, processes.said(name)
        assert "there are no more rounds" in processes.said(name)
    *rounds, version = events(processes)
    assert version["event"] == "version"
    assert version["release"]["champion"]
    assert version["version"]["info"]["metrics"]["auc"]["value"] > 0.7
    lineage = version["version"]["info"]["federation"]
    assert len(lineage["manifests"]) == lineage["sums"] == 6
    assert lineage["survivors"][-1] == 3
    assert 7 < lineage["epsilon"] <= 8
    # a site that was killed has told no more than the others, and the server's own account agrees
    assert told(tmp_path / "hub", "federate", "budget")[0]["epsilon"] == pytest.approx(lineage["epsilon"], rel=0.01)
    assert told(tmp_path / "ada", "federate", "budget")[0]["epsilon"] <= 8
    assert {e["round"] for e in rounds} >= set(range(1, 7))
    # started again there is nothing to do, and it is the same version
    again = fivefold("federate", *server, "--port", "0", "--enrol-port", "0", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["version"]["number"] == version["version"]["number"]
    # the secret of an invitation is nowhere but in the invitation
    for name in NAMES:
        secret = json.loads((tmp_path / f"{name}.invite").read_text())["token"].split("_", 2)[2].encode()
        assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".invite" and secret in p.read_bytes()] == []


def test_a_simulation_tells_each_round_and_registers_a_version_that_says_so(tmp_path: Path) -> None:
    write_project(tmp_path / "all", NAMES)
    done = fivefold("federate", "simulate", "clinics", "--json", "--promote", cwd=tmp_path / "all")
    assert done.returncode == 0, done.stderr
    *rounds, version = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["what"] for r in rounds][2:] == ["the sum of round 1", "the sum of round 2", "the sum of round 3", "counts of test rows by prediction"]
    assert all(r["sites"] == r["asked"] == 4 and r["up"] > 0 for r in rounds)
    assert version["release"]["champion"]
    info = version["version"]["info"]
    assert info["federation"]["simulated"]
    assert info["metrics"]["auc"]["value"] > 0.8
    shown = fivefold("federate", "simulate", "clinics", cwd=tmp_path / "all")
    assert shown.returncode == 0, shown.stderr
    assert b"passed: auc is 0.8" in shown.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    assert fivefold("init", "shop", cwd=tmp_path).returncode == 0
    return tmp_path / "shop"


def test_members_are_shown_and_expelled(shop: Path, tmp_path: Path) -> None:
    assert b"sites: none" in fivefold("federate", "members", cwd=shop).stdout
    gone = fivefold("federate", "expel", "ada", cwd=shop)
    assert (gone.returncode, b"no member 'ada'" in gone.stderr) == (1, True)


@pytest.mark.parametrize(("words", "why"), [
    (("server", "carriers", "--sites", "4"), "carriers"),
    (("simulate", "carriers"), "carriers"),
    (("client", "carriers", "--policy", "none.toml"), "none.toml cannot be read"),
])
def test_what_is_wrong_is_said(shop: Path, words: tuple[str, ...], why: str) -> None:
    done = fivefold("federate", *words, cwd=shop)
    assert done.returncode == 1
    assert why in done.stderr.decode(), done.stderr


def test_a_budget_is_shown_before_anything_is_spent(tmp_path: Path) -> None:
    write_project(tmp_path / "hub", [], "[ff.SecureSum(min_survivors=3), ff.DP(epsilon=8, delta=1e-5)]")
    (row,) = told(tmp_path / "hub", "federate", "budget")
    assert (row["federation"], row["releases"], row["epsilon"], row["budget"]) == ("clinics", 0, 0.0, 8.0)
