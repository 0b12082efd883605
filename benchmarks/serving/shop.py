"""A project with one endpoint over a LightGBM model of 100 trees of 31 leaves and ten features, made in a folder."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

CUSTOMERS = 1000
ROWS = 20_000
AT = "2026-01-30T00:00:00Z"
COMMAND = (sys.executable, "-c", "from fivefold.cli.main import run; run()")
PROJECT = """
import fivefold as ff

orders = ff.Table("orders", "data/orders.csv", time="ordered_at", id="order_id")
customer = ff.Entity("customer", key="customer_id")
spending = ff.FeatureView("spending", customer, orders, [
    ff.count(over="30d"), ff.sum("amount", over="30d"), ff.mean("amount", over="30d"), ff.max("amount", over="30d"),
    ff.last("amount"), ff.last("items")])
late = ff.Model("returned", ff.Target(orders, "returned"), seed=0,
    learner=ff.learner("lightgbm", n_estimators=100, num_leaves=31),
    features=[spending, ff.Request("amount", float), ff.Request("items", int),
    ff.Request("distance", float), ff.Derived("ratio", "amount / sum_amount_30d")],
    split=ff.RandomSplit(0.2), gates=[ff.Gate("auc", at_least=0.5)])
live = ff.Endpoint("returned", late, slo="SLO")
"""


def make(folder: Path, slo: str) -> None:
    """Write the project, apply, train, promote and materialise it."""
    (folder / "data").mkdir(parents=True)
    (folder / "project.py").write_text(PROJECT.replace("SLO", slo))
    (folder / "fivefold.toml").write_text('project = "shop"\n')
    made = random.Random(1)
    with (folder / "data" / "orders.csv").open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["order_id", "customer_id", "ordered_at", "amount", "items", "distance", "returned"])
        for i in range(ROWS):
            amount, items, distance = round(made.uniform(1, 200), 2), made.randint(1, 9), round(made.uniform(0, 500), 1)
            returned = made.random() < 0.1 + 0.3 * (amount > 120) + 0.2 * (items > 6) + 0.2 * (distance > 300)
            day, minute = 1 + i * 28 // ROWS, i % 1440
            at = f"2026-01-{day:02d}T{minute // 60:02d}:{minute % 60:02d}:00Z"
            out.writerow([f"o{i}", f"c{made.randrange(CUSTOMERS)}", at, amount, items, distance, str(returned).lower()])
    for words in (["apply"], ["train", "returned"], ["promote", "returned@1"], ["materialize", "--at", AT]):
        subprocess.run([*COMMAND, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def bodies(count: int) -> list[bytes]:
    """Distinct single rows as JSON."""
    made = random.Random(2)
    return [
        json.dumps(
            {
                "customer_id": f"c{made.randrange(CUSTOMERS)}",
                "amount": round(made.uniform(1, 200), 2),
                "items": made.randint(1, 9),
                "distance": round(made.uniform(0, 500), 3),
            }
        ).encode()
        for _ in range(count)
    ]
