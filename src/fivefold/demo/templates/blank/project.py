"""Declare data, features and models here. Then: fivefold plan, fivefold apply, fivefold train MODEL."""

import fivefold as ff

orders = ff.Table("orders", "data/orders.csv", time="ordered_at", id="order_id",
                  checks=[ff.typed(), ff.check("amount >= 0", on_fail="quarantine")])
customer = ff.Entity("customer", key="customer_id")
spending = ff.FeatureView("spending", customer, orders, [
    ff.count(over="30d"), ff.sum("amount", over="30d"), ff.last("amount")])
returned = ff.Model("returned", ff.Target(orders, "returned"), features=[spending, ff.Request("amount", float)],
                    learner=ff.learner("logistic"), split=ff.RandomSplit(0.2), gates=[ff.Gate("auc", at_least=0.6)])
live = ff.Endpoint("returned", returned)
