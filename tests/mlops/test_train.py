from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

import fivefold as ff


def test_the_same_inputs_give_the_same_version(shop, make_shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    first, second = shop.train(), shop.train()
    assert first.new
    assert not second.new
    assert first.version == second.version
    # and in another place, from nothing, the very same package
    other = make_shop("elsewhere")
    other.edit('project = "elsewhere"', 'project = "shop"', "fivefold.toml")
    other.apply()
    there = other.train().version
    assert (there.key, there.artifact) == (first.version.key, first.version.artifact)


@pytest.mark.parametrize(("old", "new"), [
    ('ff.count(over="30d")', 'ff.count(over="31d")'), ("ff.RandomSplit(0.2)", "ff.RandomSplit(0.25)"),
    ('ff.learner("logistic")', 'ff.learner("logistic", l2=2.0)'),
    ('ff.Request("amount", float)]', 'ff.Request("amount", float), ff.Derived("more", "amount * 2")]')])
def test_another_input_gives_another_version(shop, old, new) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    one = shop.train().version
    shop.edit(old, new)
    shop.apply()
    two = shop.train().version
    assert (two.number, two.key != one.key) == (2, True)


def test_new_rows_give_another_version_though_nothing_was_declared(shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    one = shop.train().version
    with open(shop.root / "data" / "orders.csv", "a") as f:
        f.write("9001,c1,2026-09-01T00:00:00,5.0,true\n")
    shop.apply()
    assert shop.train().version.key != one.key


def test_unapplied_changes_are_refused(shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    shop.edit('ff.count(over="30d")', 'ff.count(over="31d")')
    with pytest.raises(ff.Conflict, match="not applied: feature_view:spending"):
        shop.train()


def test_a_run_records_what_went_in_and_came_out(shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    made = shop.train()
    with shop.open() as w:
        run = w.catalog.runs.get(made.version.run_id)
        assert run.status == "finished"
        assert run.params["learner"] == "logistic"
        assert run.tags["key"] == made.version.key
        assert run.tags["snapshot.orders"] == w.snapshot("orders").digest
        assert run.tags["environment.numpy"]
        assert set(run.metrics) >= {"auc", "logloss"}
        assert run.metrics["auc"].lower < run.metrics["auc"].value < run.metrics["auc"].upper
    info: Any = made.version.info
    assert info["rows"] == {"train": 485, "test": 115, "purged": 0, "unlabelled": 0}
    assert info["inputs"]["environment"]["numpy"]
    assert set(info["inputs"]["snapshots"]) == {"orders"}
    assert abs(sum(info["importance"].values()) - 1) < 1e-9


def test_a_failing_learner_leaves_a_failed_run_and_no_version(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('ff.learner("logistic")', 'ff.learner("logistic", depth=3)')
    shop.apply()
    with pytest.raises(ff.Invalid, match="no parameter 'depth'"):
        shop.train()
    with shop.open() as w:
        (run,) = w.catalog.search.runs().runs
        assert (run.status, "depth" in run.error) == ("failed", True)
        assert w.catalog.versions.list("returned") == ()
    # trying again is another run
    with pytest.raises(ff.Invalid):
        shop.train()
    with shop.open() as w:
        assert [r.status for r in w.catalog.search.runs().runs] == ["failed", "failed"]


@pytest.mark.parametrize("learner", ['"lightgbm", n_estimators=10', '"xgboost", n_estimators=10', '"logistic"',
                                     '"sklearn", make_sklearn()', '"torch", make_torch, epochs=2'])
def test_every_learner_trains_through_the_same_door(shop, learner) -> None:  # type: ignore[no-untyped-def]
    shop.edit("customer = ff.Entity", """
def make_sklearn():
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    return make_pipeline(SimpleImputer(), LogisticRegression())

def make_torch(inputs):
    import torch
    return torch.nn.Sequential(torch.nn.Linear(inputs, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

customer = ff.Entity""")
    shop.edit('ff.learner("logistic")', f"ff.learner({learner})")
    shop.apply()
    made = shop.train()
    info: Any = made.version.info
    assert 0.4 < info["metrics"]["auc"]["value"] <= 1


def test_tuning_records_its_trials(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit("gates=", 'tune=ff.Tune({"l2": (0.01, 10.0, "log")}, trials=4), gates=')
    shop.apply()
    info: Any = shop.train().version.info
    assert len(info["trials"]) == 4
    assert all(0.01 <= t["params"]["l2"] <= 10 for t in info["trials"])


def test_a_forecast_learns_from_lags_of_the_same_view(shop) -> None:  # type: ignore[no-untyped-def]
    rows = "".join(f"s,{d:%Y-%m-%dT%H:00:00},{10 + d.hour + (d.toordinal() % 7)}\n" for d in _hours(40))
    (shop.root / "data" / "load.csv").write_text("site,at,load\n" + rows)
    shop.write("""
load = ff.Table("load", "data/load.csv", time="at")
site = ff.Entity("site", key="site")
past = ff.FeatureView("past", site, load, [ff.last("load", ago="6d23h"), ff.last("load", ago="23h"), ff.mean("load", over="1d")])
tomorrow = ff.Model("tomorrow", ff.Target(load, "load", known="at"), [past, ff.Derived("drift", "last_load_ago_23h - past.mean_load_1d")],
                    ff.learner("logistic", l2=0.001), ff.TimeSplit(test="2026-02-01"), metrics=["rmse", "r2"])
""")
    shop.apply()
    info: Any = shop.train("tomorrow").version.info
    assert info["task"] == "regression"
    assert info["metrics"]["r2"]["value"] > 0.9


def _hours(days: int):  # type: ignore[no-untyped-def]
    import datetime

    start = datetime.datetime(2026, 1, 1)
    return [start + datetime.timedelta(hours=h) for h in range(days * 24)]


def test_a_feature_that_gives_the_label_away_is_warned_of(shop) -> None:  # type: ignore[no-untyped-def]
    text = (shop.root / "data" / "orders.csv").read_text().splitlines()
    (shop.root / "data" / "orders.csv").write_text("\n".join(
        [text[0] + ",refund", *(line + (",9.5" if line.endswith("true") else ",0") for line in text[1:])]) + "\n")
    shop.edit('ff.Request("amount", float)]', 'ff.Request("amount", float), ff.Request("refund", float)]')
    shop.apply()
    (warning,) = shop.train().warnings
    assert "'refund' alone gives the label away" in warning


KILLED = """
import os, signal, sys
from pathlib import Path
from fivefold.models import package
from fivefold.lifecycle import fitting
from fivefold.mlops import plan, train
from fivefold.workspace import open_workspace
where = {"fitting": fitting, "train": train}[sys.argv[2]]
real = getattr(where, sys.argv[3])
def killed(*args, **more):
    result = real(*args, **more) if sys.argv[4] == "after" else None
    os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(where, sys.argv[3], killed)
with open_workspace(Path(sys.argv[1])) as w:
    train.train(w, w.project.get("model", "returned"), plan.check(w).schemas)
"""


@pytest.mark.parametrize(("room", "where", "when"), [
    ("fitting", "fit", "after"), ("train", "fit_and_package", "after"),
    pytest.param("train", "training_rows", "before", marks=pytest.mark.long),
    pytest.param("train", "_rows", "after", marks=pytest.mark.long),
    pytest.param("fitting", "put_tree", "after", marks=pytest.mark.long)])
def test_a_killed_training_goes_on_and_ends_in_the_same_version(shop, make_shop, room, where, when) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    done = subprocess.run([sys.executable, "-c", KILLED, str(shop.root), room, where, when])
    assert done.returncode == -signal.SIGKILL
    with shop.open() as w:
        assert w.catalog.versions.list("returned") == ()
    began = time.monotonic()
    resumed = subprocess.run([sys.executable, "-m", "fivefold.cli.main", "train", "returned"], cwd=shop.root,
                             capture_output=True, text=True, env={**os.environ, "FIVEFOLD_ACTOR": "ann"})
    assert resumed.returncode == 0, resumed.stderr
    assert time.monotonic() - began < 60
    whole = make_shop("whole")
    whole.edit('project = "whole"', 'project = "shop"', "fivefold.toml")
    whole.apply()
    with shop.open() as w:
        (version,) = w.catalog.versions.list("returned")
        (run,) = w.catalog.search.runs().runs
        assert (run.id, run.status) == (version.run_id, "finished")
    assert version.artifact == whole.train().version.artifact


def test_an_interrupted_training_goes_on_in_the_same_run(shop, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from fivefold.mlops import train as module

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    shop.apply()
    with monkeypatch.context() as patched:
        patched.setattr(module, "fit_and_package", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shop.train()
    version = shop.train().version
    with shop.open() as w:
        (run,) = w.catalog.search.runs().runs
        assert (run.id, run.status) == (version.run_id, "finished")
