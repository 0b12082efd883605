"""`fivefold plan` says what a federation will cost, and refuses one that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.federation import Federation
from fivefold.federated.foresight import foreseen
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.workspace import open_workspace

PROJECT = """
import fivefold as ff
rows = ff.Table("rows", "rows.csv", time="at", id="n")
own = ff.FeatureView("own", ff.Entity("site", key="site"), rows, [ff.count(over="1d")])
model = ff.Model("m", ff.Target(rows, "y", known="known"), [own, ff.Request("x", float)], ff.learner("logistic"), ff.RandomSplit())
sites = ff.Federation("sites", model, split="site", MORE)
"""


def said(folder: Path, more: str, applied: bool = True, sites: int = 7) -> str:
    (folder / "fivefold.toml").write_text('project = "p"\n')
    (folder / "project.py").write_text(PROJECT.replace("MORE", more))
    random = np.random.default_rng(0)
    lines = [f"{i},s{i % sites},2026-01-{i % 28 + 1:02},2026-02-01,{random.normal():.3f},{'true' if random.random() < 0.5 else 'false'}" for i in range(700)]
    (folder / "rows.csv").write_text("n,site,at,known,x,y\n" + "\n".join(lines) + "\n")
    with open_workspace(folder) as workspace:
        checked = plans.check(workspace)
        if applied:
            apply(workspace, checked, plans.plan(workspace))
            checked = plans.check(workspace)
        noun = workspace.project.get("federation", "sites")
        assert isinstance(noun, Federation)
        return "; ".join(foreseen(workspace, noun, checked.schemas))


def test_before_rows_were_read_it_says_what_to_do(tmp_path: Path) -> None:
    assert "fivefold apply" in said(tmp_path, "rounds=3", applied=False)


def test_sites_rows_bytes_and_noise_are_told(tmp_path: Path) -> None:
    text = said(tmp_path, 'privacy=[ff.SecureSum(min_survivors=5), ff.DP(epsilon=3, delta=1e-5, unit="client")]')
    assert "7 sites have 700 rows in all" in text
    assert "bytes" in text
    assert "THE NOISE DROWNS THE MODEL" in text


def test_the_server_and_a_site_are_not_taken_for_too_few_sites(tmp_path: Path) -> None:
    more = "privacy=[ff.SecureSum(min_survivors=5)]"
    assert "700 rows of one site" in said(tmp_path, more, sites=1)
    (tmp_path / "rows.csv").write_text("n,site,at,known,x,y\n")
    (tmp_path / "project.py").write_text((tmp_path / "project.py").read_text().replace('id="n")', 'id="n", schema=dict(n=int, site=str, at="timestamp", known="timestamp", x=float, y=bool))'))
    with open_workspace(tmp_path) as workspace:
        checked = plans.check(workspace)
        apply(workspace, checked, plans.plan(workspace))
        noun = workspace.project.get("federation", "sites")
        assert isinstance(noun, Federation)
        assert "it is the server's" in foreseen(workspace, noun, plans.check(workspace).schemas)[0]


def test_trees_tell_their_sums(tmp_path: Path) -> None:
    text = said(tmp_path, 'learner=ff.learner("trees", trees=9, depth=3)')
    assert f"9 trees are grown by up to 3 sums each, the largest of {4 * 2 * 33 * 3:,} numbers" in text


@pytest.mark.parametrize(("more", "message"), [
    ("privacy=[ff.SecureSum(min_survivors=8)]", "cohort=7 can never have min_survivors=8"),
    ('learner=ff.learner("trees"), privacy=[ff.SecureSum(min_survivors=8)]', "cohort=7 can never have min_survivors=8"),
    ("robust=ff.Krum(3)", "Krum needs at least 9 sites, and there are 7"),
    ("robust=ff.Median(), privacy=[ff.SecureSum(min_survivors=4)]", "cohort=7 cannot fill two buckets of min_survivors=4"),
    ('round_bytes="20B"', "takes 64 bytes from a site")])
def test_what_cannot_be_is_refused(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        said(tmp_path, more)


def test_the_command_says_it(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from fivefold.cli.main import app

    said(tmp_path, "privacy=[ff.SecureSum(min_survivors=5)]")
    done = CliRunner().invoke(app, ["plan", "--project", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "federation:sites:" in done.output
    assert "7 sites have 700 rows in all" in done.output
    (tmp_path / "project.py").write_text(PROJECT.replace("MORE", "privacy=[ff.SecureSum(min_survivors=8)]"))
    refused = CliRunner().invoke(app, ["plan", "--project", str(tmp_path)])
    assert isinstance(refused.exception, FivefoldError)
