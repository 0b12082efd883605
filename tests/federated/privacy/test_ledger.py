"""A federation pays before it releases, and stops when its promise is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

import fivefold as ff
from fivefold.catalog import open_catalog
from fivefold.core.errors import Conflict, Invalid
from fivefold.federated.contribution import sent_layout
from fivefold.federated.privacy.accounting import gaussian
from fivefold.federated.privacy.ledger import ledger_of, pay
from fivefold.federated.privacy.noise import private_plan, terms_under

ROWS = ff.Table("rows", "r.csv", time="at")
MODEL = ff.Model("m", ff.Target(ROWS, "y"), [ff.Request("x", float)], ff.learner("logistic"), ff.RandomSplit())
DP = ff.DP(2, 1e-5)


def federation(name: str = "f", **more) -> ff.Federation:  # type: ignore[no-untyped-def]
    return ff.Federation(name, MODEL, **{"split": "c", "privacy": [DP], **more})


def test_the_rounds_that_were_planned_fit_and_one_more_does_not(tmp_path: Path) -> None:
    noise = private_plan(sent_layout(update=9), DP, terms_under(DP, 500), 0.1, releases=7, cohort=3, min_survivors=2, central=False, seed=b"")
    with open_catalog(f"sqlite:///{tmp_path}/c.db", "p") as catalog:
        spent = [pay(catalog.releases, federation(), f"f/{i}", f"round {i}", noise.curve).epsilon for i in range(7)]
        assert spent == sorted(spent)
        assert 1.9 < spent[-1] <= 2
        assert pay(catalog.releases, federation(), "f/3", "round 3", noise.curve).epsilon == spent[3]
        with pytest.raises(Conflict, match="round 7 would make epsilon .* the budget is 2; 7 releases have spent"):
            pay(catalog.releases, federation(), "f/7", "round 7", noise.curve)
        with pytest.raises(Conflict):
            pay(catalog.releases, federation("other"), "other/0", "another federation over the same rows", noise.curve)


def test_rows_and_sites_are_different_promises(tmp_path: Path) -> None:
    client = federation(privacy=[ff.DP(2, 1e-5, unit="client")])
    assert ledger_of(client) != ledger_of(federation())
    with open_catalog(f"sqlite:///{tmp_path}/c.db", "p") as catalog:
        pay(catalog.releases, federation(), "a", "w", gaussian(3.0))
        assert pay(catalog.releases, client, "a", "w", gaussian(3.0)).number == 1


def test_without_a_promise_there_is_no_ledger() -> None:
    with pytest.raises(Invalid, match="has no ledger"):
        ledger_of(federation(privacy=[]))
