from __future__ import annotations

import pytest

import fivefold as ff
from fivefold.core.errors import Several


def refs(plan, change):  # type: ignore[no-untyped-def]
    return [i.ref for i in plan.items if i.change == change]


def test_a_new_project_is_all_additions_and_after_apply_none(shop) -> None:  # type: ignore[no-untyped-def]
    plan = shop.plan()
    assert set(refs(plan, "added")) == {"table:orders", "entity:customer", "feature_view:spending", "request:amount",
                                        "model:returned", "endpoint:returned"}
    shop.apply()
    assert shop.plan().empty


def test_a_change_names_the_field_and_everything_that_stands_on_it(shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    shop.train()
    shop.edit('ff.count(over="30d")', 'ff.count(over="60d")')
    plan = shop.plan()
    assert refs(plan, "changed") == ["feature_view:spending"]
    (change,) = [f for i in plan.items for f in i.fields if f.field.endswith("over")]
    assert (change.field, change.old, change.new) == ("features[0].over", "30d", "60d")
    rebuild = {r.ref: r for r in plan.rebuilds}
    assert rebuild["feature_view:spending"].action == "materialize again"
    retrain = rebuild["model:returned"]
    assert retrain.because == ("feature_view:spending",)
    assert retrain.command == "fivefold train returned"
    assert retrain.rows == 485
    assert retrain.seconds is not None


def test_an_endpoint_says_it_goes_on_with_what_it_has(shop) -> None:  # type: ignore[no-untyped-def]
    from fivefold.lifecycle.release import promote

    shop.apply()
    made = shop.train()
    with shop.open() as w:
        promote(w, made.version)
    shop.edit("ff.RandomSplit(0.2)", "ff.RandomSplit(0.3)")
    actions = {r.ref: r.action for r in shop.plan().rebuilds}
    assert actions["endpoint:returned"] == "goes on serving returned@1 until a new version is promoted"


def test_a_removed_declaration_is_removed_at_apply_and_can_come_back(shop) -> None:  # type: ignore[no-untyped-def]
    shop.apply()
    shop.edit('live = ff.Endpoint("returned", returned)', "")
    assert refs(shop.plan(), "removed") == ["endpoint:returned"]
    shop.apply()
    assert shop.plan().empty
    shop.edit("returned = ff.Model", "live = None\nreturned = ff.Model")
    with open(shop.root / "project.py", "a") as f:
        f.write('live = ff.Endpoint("returned", returned)\n')
    assert refs(shop.plan(), "added") == ["endpoint:returned"]


def test_every_mistake_is_reported_at_once_and_nothing_is_written(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit('ff.last("amount")', 'ff.last("amuont"), ff.mean("customer_id", over="1d")')
    shop.edit('"returned"), features', '"retruned"), features')
    shop.edit('"data/orders.csv"', '"data/orders.csv"')
    with pytest.raises(Several) as caught:
        shop.plan()
    text = str(caught.value)
    assert "Did you mean 'amount'" in text
    assert "mean of 'customer_id', which is string" in text
    assert "Did you mean 'returned'" in text
    with shop.open() as w:
        assert w.catalog.definitions.revision() == 0


def test_a_missing_file_is_one_of_the_mistakes(shop) -> None:  # type: ignore[no-untyped-def]
    shop.edit("data/orders.csv", "data/ordres.csv")
    with pytest.raises(Several, match=r"table:orders.*Did you mean 'orders.csv'"):
        shop.plan()


def test_planning_again_after_somebody_applied_is_a_conflict(shop) -> None:  # type: ignore[no-untyped-def]
    from fivefold.mlops import plan as plans
    from fivefold.mlops.apply import apply

    with shop.open() as w:
        checked, planned = plans.check(w), plans.plan(w)
        shop.apply()
        shop.edit('ff.count(over="30d")', 'ff.count(over="60d")')
    with shop.open() as w, pytest.raises(ff.Conflict):
        apply(w, checked, planned)
