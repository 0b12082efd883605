"""Every rule of the wiring, broken once; and a sound project that breaks none."""

from __future__ import annotations

import pytest

import fivefold as ff
from fivefold.core.errors import Several
from fivefold.core.project import collect
from fivefold.core.types import Type
from fivefold.core.wiring import check

I, F, S, T, B = Type.INT64, Type.FLOAT64, Type.STRING, Type.TIMESTAMP, Type.BOOL
ORDERS = {"id": I, "customer": S, "at": T, "shipped_at": T, "amount": F, "late": B, "late_by": F, "note": S}
CUSTOMER = ff.Entity("customer", key="customer")


def orders(**more):  # type: ignore[no-untyped-def]
    return ff.Table("orders", "o.csv", **{"time": "at", "id": "id", **more})


def model(table, features, **more):  # type: ignore[no-untyped-def]
    target = ff.Target(table, **{"label": "late", "known": "shipped_at", **more})
    return ff.Model("m", target, features, ff.learner("logistic"), ff.RandomSplit())


def errors(*nouns, schemas=None) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(Several) as caught:
        check(collect("p", nouns), schemas or {"orders": ORDERS})
    return str(caught.value)


def test_a_sound_project_has_no_errors() -> None:
    table = orders(checks=[ff.check("amount > 0"), ff.unique("id")])
    shipped = ff.View("shipped", "select customer, late_by, shipped_at from orders", time="shipped_at")
    past = ff.FeatureView("past", CUSTOMER, shipped, [ff.mean("late_by", over="7d")])
    m = model(table, [ff.FeatureView("spend", CUSTOMER, table, [ff.sum("amount", over="7d"), ff.last("amount")]), past,
                      ff.Request("amount", float), ff.Derived("ratio", "spend.last_amount / amount")])
    check(collect("p", [m]), {"orders": ORDERS, "shipped": {"customer": S, "late_by": F, "shipped_at": T}})


def test_all_mistakes_are_reported_together() -> None:
    text = errors(orders(time="when", checks=[ff.check("amuont > 0")]), model(orders(time="when", checks=[ff.check("amuont > 0")]), [
        ff.Request("size", int)], known="shiped_at"))
    assert "no column of table:orders for time=: 'when'" in text
    assert "amuont" in text
    assert "Did you mean 'shipped_at'" in text
    assert "'size'" in text
    assert text.startswith("4 errors") or text.startswith("5 errors")


@pytest.mark.parametrize(("nouns", "message"), [
    ([orders(time="amount")], "is float64, not a timestamp"),
    ([orders(seq="sequence")], "for seq=: 'sequence'"),
    ([orders(checks=[ff.check("amount + 1")])], "is float64, not a condition"),
    ([orders(checks=[ff.unique("idd")])], "Did you mean 'id'"),
    ([orders(time=None, checks=[ff.fresh("1d")])], "freshness needs the source's event time"),
    ([ff.FeatureView("v", CUSTOMER, orders(), [ff.mean("amonut", over="1h")])], "Did you mean 'amount'"),
    ([ff.FeatureView("v", CUSTOMER, orders(), [ff.mean("note", over="1h")])], "mean of 'note', which is string"),
    ([ff.FeatureView("v", CUSTOMER, orders(time=None), [ff.mean("amount", over="1h")])], "no event time, so no window"),
    ([ff.FeatureView("v", ff.Entity("e", key="cust"), orders(), [ff.last("amount")])], "key of entity:e"),
    ([model(orders(), [ff.Request("amount", str)])], "request:amount is string, but table:orders has 'amount' as float64"),
    ([model(orders(), [ff.Request("late", bool)])], "leaks the label"),
    ([model(orders(), [ff.Request("amount", float), ff.Derived("d", "amuont * 2")])], "Did you mean 'amount'"),
    ([model(orders(), [ff.Request("amount", float), ff.Derived("amount", "1 + 1")])], "two features are called 'amount'"),
    ([model(orders(), [ff.Request("amount", float)], label="late_by >")], "label"),
    ([model(orders(time=None), [ff.Request("amount", float)])], "so features have no moment"),
    ([model(orders(), [ff.FeatureView("v", CUSTOMER, orders(), [ff.mean("late_by", over="7d")])], label="late_by > 1")],
     "could see the future"),
    ([ff.Stream("s", {"customer": str, "amount": int}, time="at", history=orders())], "is int64, but float64 in its history"),
    ([ff.FeatureView("v", CUSTOMER, ff.Stream("s", {"customer": str}, time="at"), [ff.count()])], "has no history"),
    ([ff.BatchJob("j", model(orders(), [ff.Request("amount", float)]), over=ff.Table("next", "n.csv", time="at"),
                  into=ff.Table("out", "out"))], "no column of table:next"),
])
def test_each_mistake_names_the_thing_and_the_mend(nouns, message: str) -> None:  # type: ignore[no-untyped-def]
    assert message in errors(*nouns, schemas={"orders": ORDERS, "next": {"at": T}})


def test_a_future_feature_is_found_through_a_view_that_renames_the_column() -> None:
    table = orders()
    renamed = ff.View("renamed", "select customer, at, late_by as x from orders", time="at")
    m = model(table, [ff.FeatureView("v", CUSTOMER, renamed, [ff.mean("x", over="7d")])], label="late_by > 1")
    text = errors(m, schemas={"orders": ORDERS, "renamed": {"customer": S, "at": T, "x": F}})
    assert "could see the future: it is made of orders.late_by" in text
