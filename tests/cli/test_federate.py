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

import pytest

from fivefold.backends import connect
from fivefold.federated.rounds.coordinator import read_reference
from fivefold.federated.wire import arrays, parcels
from fivefold.ports.artifacts import ArtifactStore

FEDERATIONS = """
[counts]
rounds = 2
length = 4
bits = 16
cohort = 4
quorum = 4
min_survivors = 3
seconds = 16
rule = "strategy.py:Adding"
"""
STRATEGY = """
import numpy as np

class Adding:
    def begin(self):
        return {"total": np.zeros(4, np.uint64)}
    def broadcast(self, state):
        return state
    def step(self, parts, state):
        return {"total": state["total"] + sum(p.vector for p in parts)}
    def epsilon(self, rounds):
        return None
"""
SITE = """
import os, time
from pathlib import Path
import numpy as np

def work(manifest, model):
    here = Path(os.environ["HERE"])
    if manifest.round == 2 and here.name == "dee":
        (here / "working").touch()
        time.sleep(300)
    return np.array([int(here.joinpath("count").read_text()) * manifest.round] * manifest.length, np.uint64)
"""


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


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    assert fivefold("init", "shop", cwd=tmp_path).returncode == 0
    (tmp_path / "shop" / "federations.toml").write_text(FEDERATIONS)
    (tmp_path / "shop" / "strategy.py").write_text(STRATEGY)
    (tmp_path / "site.py").write_text(SITE)
    return tmp_path / "shop"


def test_four_sites_one_killed_and_the_server_too_and_the_sum_is_right(shop: Path, processes: Processes, tmp_path: Path) -> None:
    server = ("server", "shop/federations.toml", "--poll", "0.1", "--lease", "1", "--project", "shop")
    processes.start("server", *server, "--port", "0", "--enrol-port", "0")
    ports = processes.until(lambda: re.search(r"on 127.0.0.1:(\d+), enrolment on 127.0.0.1:(\d+)", processes.said("server")), "server")
    names = ["ada", "bob", "cyd", "dee"]
    for count, name in enumerate(names, 1):
        invited = fivefold("federate", "invite", name, "--server", f"localhost:{ports[1]}", "--enrol", f"localhost:{ports[2]}", "--project", "shop", cwd=tmp_path)
        assert invited.returncode == 0, invited.stderr
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "count").write_text(str(count))
        (tmp_path / f"{name}.invite").write_bytes(invited.stdout)
        from_file = name == "ada"
        processes.start(name, "client", "counts", "--work", "site.py:work", "--folder", name, "--invitation", f"{name}.invite" if from_file else "-",
                        given=b"" if from_file else invited.stdout, HERE=str(tmp_path / name))
    processes.until((tmp_path / "dee" / "working").exists, "server", *names)
    processes.kill("dee")
    processes.kill("server")
    processes.start("server", *server, "--port", ports[1], "--enrol-port", ports[2])
    assert processes.ended("server") == 0, processes.said("server")
    for name in names[:3]:
        assert processes.ended(name) == 0, processes.said(name)
        assert "there are no more rounds" in processes.said(name)
    told = fivefold("federate", "rounds", "counts", "--json", "--project", "shop", cwd=tmp_path)
    second, first = json.loads(told.stdout)
    assert (first["survivors"], second["survivors"]) == ([names], [names[:3]])
    store: Any = ArtifactStore
    kept = connect(store, f"files:{shop}/.fivefold/artifacts")
    assert arrays.decode(parcels.get(kept, read_reference(second["after"])))["total"].tolist() == [1 + 2 + 3 + 4 + 2 * (1 + 2 + 3)] * 4
    # the secret of an invitation is nowhere but in the invitation
    for name in names:
        secret = json.loads((tmp_path / f"{name}.invite").read_text())["token"].split("_", 2)[2].encode()
        assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".invite" and secret in p.read_bytes()] == []


def test_members_are_shown_and_expelled(shop: Path, tmp_path: Path) -> None:
    assert b"sites: none" in fivefold("federate", "members", cwd=shop).stdout
    gone = fivefold("federate", "expel", "ada", cwd=shop)
    assert (gone.returncode, b"no member 'ada'" in gone.stderr) == (1, True)


@pytest.mark.parametrize(("words", "why"), [
    (("server", "none.toml"), "no file none.toml"),
    (("server", "bad.toml"), "[counts] has fields that are not known: rule_"),
    (("client", "counts", "--work", "site.py:work", "--folder", "nowhere"), "nowhere has not enrolled"),
    (("client", "counts", "--work", "site", "--folder", "nowhere"), "'site' does not name anything (accepted: file.py:name)"),
    (("client", "counts", "--work", "site.py:wrk", "--folder", "nowhere"), "Did you mean 'work'"),
    (("client", "counts", "--work", "site.py:work", "--policy", "bad.toml"), "the policy for 'counts' is not accepted"),
    (("client", "counts", "--work", "site.py:work", "--folder", "nowhere", "--invitation", "bad.toml"), "this is not an invitation"),
])
def test_what_is_wrong_is_said(shop: Path, words: tuple[str, ...], why: str) -> None:
    (shop / "bad.toml").write_text(FEDERATIONS.replace("rule =", 'rule_ = "x"\nrule ='))
    (shop / "site.py").write_text(SITE)
    done = fivefold("federate", *words, cwd=shop)
    assert done.returncode == 1
    assert why in done.stderr.decode(), done.stderr
