"""The shop with endpoints of several steps: a weighted mean, and a chain of a cascade, a Udf and a label."""

from __future__ import annotations

from pathlib import Path

from shop_project import PROJECT, Shop

from fivefold.core.learning import Model
from fivefold.demo.start import start
from fivefold.lifecycle.release import promote
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.mlops.train import train

STEPS = '''
def mixed(quick, deep):
    if (quick == deep).any():
        raise ValueError("the same")
    return (quick + deep) / 2

before = ff.View("before", """
    select order_id, customer_id, ordered_at, amount, returned, least(amount / 100.0, 1.0) as quick,
           case when returned then 'back' when hour(ordered_at) > 11 then 'late' else 'early' end as kind
    from orders""", time="ordered_at", id="order_id")
quick = ff.Model("quick", ff.Target(orders, "returned"), learner=ff.learner("logistic"), seed=0,
    features=[ff.Request("amount", float)], split=ff.RandomSplit(0.2), gates=[ff.Gate("auc", at_least=0.0)])
deep = ff.Model("deep", ff.Target(before, "returned"), learner=ff.learner("lightgbm", num_leaves=5, n_estimators=8), seed=0,
    features=[spending["last_amount"], ff.Request("quick", float), ff.Derived("much", "last_amount > 20")],
    split=ff.RandomSplit(0.2), gates=[ff.Gate("auc", at_least=0.0)])
kind = ff.Model("kind", ff.Target(before, "kind"), learner=ff.learner("lightgbm", num_leaves=5, n_estimators=8), seed=0,
    features=[spending, ff.Request("amount", float)], split=ff.RandomSplit(0.2), gates=[ff.Gate("logloss", at_most=9.0)])
blend = ff.Endpoint("blend", returned, steps=[
    quick, returned, ff.Derived("blend", "0.25 * quick + 0.75 * returned")])
chain = ff.Endpoint("chain", deep, steps=[
    ff.Request("cents", int), ff.Derived("amount", "cents / 100.0"), quick, returned, deep, kind,
    ff.Udf("mixed", mixed, ["quick", "deep"], float),
    ff.Derived("verdict", "case when mixed > 0.3 then 'refund' when kind.early > 0.4 then 'early' else kind end")])
'''
MODELS = ("returned", "quick", "deep", "kind")


class Stepped(Shop):
    """The shop whose endpoints have steps."""

    def train(self, *names: str, trial: str = "") -> None:
        """Apply the project file, and make new versions of models champion, or put them on trial."""
        from fivefold.lifecycle.release import put_on_trial

        with self.open() as w:
            checked = plans.check(w)
            apply(w, checked, plans.plan(w))
            for name in names:
                model = w.project.get("model", name)
                assert isinstance(model, Model)
                version = train(w, model, checked.schemas).version
                if trial:
                    assert put_on_trial(w, version, trial).verdict.passed
                else:
                    assert promote(w, version).champion


def make(root: Path) -> None:
    """A shop with all versions champion, and features as of AT."""
    start(root, "blank")
    (root / "project.py").write_text(PROJECT + STEPS)
    shop = Stepped(root)
    shop.train(*MODELS)
    shop.materialise()
