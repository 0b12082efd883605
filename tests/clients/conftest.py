"""One real server over two endpoints, that unmodified clients of other people ask."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop_project import AT, PROJECT, Server, Shop

from fivefold.core.learning import Model
from fivefold.demo.start import start
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.train import train

SECOND = '''
visits = ff.View("visits", """
    select order_id, customer_id, ordered_at, order_id % 3 = 0 as vip, 's' || (order_id % 5) as shop,
           case when returned then 'back' when hour(ordered_at) > 11 then 'late' else 'early' end as what
    from orders""", time="ordered_at", id="order_id")
what = ff.Model("what", ff.Target(visits, "what"), learner=ff.learner("lightgbm", num_leaves=5, n_estimators=8), seed=0,
    features=[spending, ff.Request("order_id", int), ff.Request("vip", bool), ff.Request("shop", str)],
    split=ff.RandomSplit(0.2), gates=[ff.Gate("logloss", at_most=9.0)])
kinds = ff.Endpoint("what", what)
'''

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()
(STEPS,) = re.findall(r"```\n(offer = .*?)```", DOCS, re.S)


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with a binary endpoint, `returned`, a multiclass one, `what`, and `offer`, of several steps."""
    root = tmp_path_factory.mktemp("two") / "shop"
    start(root, "blank")
    (root / "project.py").write_text(PROJECT + SECOND + STEPS)
    shop = Shop(root)
    with shop.open() as w:
        checked = plans.check(w)
        apply(w, checked, plans.plan(w))
        for name in ("returned", "what"):
            model = w.project.get("model", name)
            assert isinstance(model, Model)
            assert promote(w, train(w, model, checked.schemas).version).champion
    shop.materialise(AT)
    return shop


@pytest.fixture(scope="session")
def server(two: Shop) -> Iterator[Server]:
    """Its server, with HTTP and gRPC."""
    with two.serve("--grpc-port", "0") as made:
        yield made


@pytest.fixture(scope="session")
def single(two: Shop) -> Iterator[Server]:
    """A server of the endpoint `returned` alone."""
    with two.serve("--endpoint", "returned") as made:
        yield made


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Triton's client closes itself when it is collected, which fails in another thread than the one that made it."""
    yield
    gc.collect()
