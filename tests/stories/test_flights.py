"""The main job on real flights, from the command line: the demo, and what a newcomer does next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

# one worker runs them all: they tell one story of one project
pytestmark = pytest.mark.xdist_group("flights")


def fivefold(*words: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "fivefold.cli.main", *words], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("story")
    fivefold("demo", "demo", "--fast", cwd=folder)
    return folder / "demo"


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file of a project but the database's own, with size and time of change."""
    return {str(p.relative_to(folder)): (p.stat().st_size, 0 if "tables" in p.parts else p.stat().st_mtime_ns) for p in folder.rglob("*")
            if p.is_file() and not p.name.startswith("catalog.db") and "__pycache__" not in p.parts and p.suffix != ".mdb"
            and p.name != ".lock"}


def test_the_report_has_its_figures(demo: Path) -> None:
    facts: Any = json.loads((demo / "report.json").read_text())
    metrics = facts["metrics"]
    assert metrics["late"]["auc"]["value"] > metrics["departure delay alone"]["auc"]["value"] > 0.5
    assert metrics["late"]["logloss"]["value"] < metrics["always the base rate"]["logloss"]["value"]
    assert all(g["passed"] for g in facts["gates"])
    assert facts["serving"]["failed"] == 0
    assert facts["serving"]["events"] + facts["rollouts"]["events"] > 700
    assert facts["rollouts"]["equal"] == 12
    assert facts["rollouts"]["failed"] == 0
    assert [r["ended"] for r in facts["rollouts"]["rollouts"]] == ["promote", "roll_back"]
    assert facts["skew"]["compared"] >= 1000
    assert facts["skew"]["differ"] == 0
    page = (demo / "report.html").read_text()
    assert page.count("<svg") == 5
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace("http://creativecommons.org", "")
    assert "src=" not in page


def test_a_second_run_does_nothing_new(demo: Path) -> None:
    before = state_of(demo)
    assert "nothing new" in fivefold("demo", "demo", cwd=demo.parent)
    assert state_of(demo) == before


def test_scores_are_one_row_a_flight_by_day(demo: Path) -> None:
    table = ds.dataset(demo / "out" / "scores", partitioning="hive", exclude_invalid_files=True).to_table()
    assert table.num_rows == len(set(table["flight_id"].to_pylist())) > 700
    assert all(0 < p < 1 for p in table["prediction"].to_pylist())
    # the stream added to history since: scored once more, then never again
    fivefold("score", "tomorrow", cwd=demo)
    assert "published from the same inputs already" in fivefold("score", "tomorrow", cwd=demo)


def test_a_changed_window_is_planned_applied_and_trained_as_another_version(demo: Path) -> None:
    project = demo / "project.py"
    project.write_text(project.read_text().replace('ff.mean("dep_delay", over="3h")', 'ff.mean("dep_delay", over="4h")'))
    planned: Any = json.loads(fivefold("plan", "--json", cwd=demo))
    assert [(i["ref"], i["change"]) for i in planned["items"]] == [("feature_view:congestion", "changed")]
    assert {r["ref"] for r in planned["rebuilds"]} == {"feature_view:congestion", "model:late", "endpoint:late", "batch_job:tomorrow"}
    assert "late: train a new version" in fivefold("plan", cwd=demo)
    fivefold("apply", cwd=demo)
    said = fivefold("train", "late", cwd=demo)
    assert "late@3" in said, "the second is the one that the rollout let go"
    versions: Any = {v["version"]: v for v in json.loads(fivefold("list", "versions", "--json", cwd=demo)) if v["model"] == "late"}
    assert versions[1]["key"] != versions[3]["key"]
    assert "congestion.mean_dep_delay_4h" in versions[3]["info"]["features"]
    # what the stream brought on the last day is in history now, so the second version learned from it
    before, after = (versions[n]["info"]["inputs"]["snapshots"] for n in (1, 3))
    assert {name for name in before if before[name] != after[name]} == {"flights"}
    # whichever is champion, the decision says why
    assert "version 1" in fivefold("list", "runs", "--json", cwd=demo)


def test_new_flights_are_one_new_partition(demo: Path, tmp_path: Path) -> None:
    from fivefold.demo.flights import write_data

    write_data(tmp_path, (8,))
    (tmp_path / "flights" / "2013-08.csv").rename(demo / "data" / "flights" / "2013-08.csv")
    planned: Any = json.loads(fivefold("plan", "--json", cwd=demo))
    assert planned["data"] == [{"ref": "table:raw_flights", "new": 1, "gone": 0}]
    outcome: Any = json.loads(fivefold("apply", "--json", cwd=demo))
    new = {s["ref"]: s["new_parts"] for s in outcome["sources"]}
    assert new["table:raw_flights"] == new["view:flights"] == new["view:landings"] == 1
    assert new["table:raw_weather"] == new["view:observations"] == 0
