"""The ledger: composed before a release, refused over budget, and never forgotten."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.catalog import Catalog, open_catalog
from fivefold.core.errors import Conflict, Invalid


def epsilon_of(curve: tuple[float, ...], delta: float) -> float:
    return min(curve) + delta


def spend(catalog: Catalog, key: str, curve: tuple[float, ...] = (1.0, 2.0), budget: float = 3.5, ledger: str = "flights") -> Any:
    return catalog.releases.spend(ledger, key, f"round {key}", curve, epsilon_of=epsilon_of, budget=budget, delta=0.25)


def test_curves_add_up_until_the_budget_and_then_it_is_refused(catalog: Catalog, clock: Any) -> None:
    first = spend(catalog, "1")
    assert (first.number, first.epsilon, first.at) == (1, 1.25, clock.now)
    assert spend(catalog, "2", (2.0, 0.5)).epsilon == 2.75  # min(3, 2.5) + delta: curves are added, not epsilons
    with pytest.raises(Conflict, match=r"would make epsilon 3\.75 .* budget is 3\.5; 2 releases have spent 2\.75"):
        spend(catalog, "3", (1.0, 1.0))
    assert [r.key for r in catalog.releases.of("flights")] == ["1", "2"]
    assert spend(catalog, "3", (0.5, 0.5)).number == 3


def test_the_same_release_twice_is_paid_once(catalog: Catalog, clock: Any) -> None:
    first = spend(catalog, "1")
    clock.pass_(5)
    assert spend(catalog, "1") == first
    with pytest.raises(Conflict, match="'1' is another release already"):
        spend(catalog, "1", (0.1, 0.1))
    assert len(catalog.releases.of("flights")) == 1


def test_an_epsilon_that_is_no_number_is_refused(catalog: Catalog) -> None:
    with pytest.raises(Conflict):
        catalog.releases.spend("l", "k", "w", (1.0,), epsilon_of=lambda c, d: float("nan"), budget=9.0, delta=0.1)


@pytest.mark.parametrize("curve", [(), (-1.0,), (float("nan"),), (float("inf"),), (1.0,) * 1001])
def test_what_is_no_curve_is_refused(catalog: Catalog, curve: tuple[float, ...]) -> None:
    with pytest.raises(Invalid, match="a curve of"):
        spend(catalog, "1", curve)


def test_curves_of_other_orders_are_refused(catalog: Catalog) -> None:
    spend(catalog, "1")
    with pytest.raises(Invalid, match="curves have 2 orders, and this one 3"):
        spend(catalog, "2", (1.0, 1.0, 1.0))


def test_ledgers_and_projects_are_apart(catalog: Catalog, other_project: Catalog) -> None:
    spend(catalog, "1")
    spend(catalog, "1", ledger="weather")
    spend(catalog, "2", (0.5, 0.5), ledger="weather")
    assert other_project.releases.ledgers() == ()
    assert [(r.ledger, r.number, r.epsilon) for r in catalog.releases.ledgers()] == [("flights", 1, 1.25), ("weather", 2, 1.75)]


KILLED = """
import os, signal, sys
from fivefold.catalog import open_catalog
with open_catalog(sys.argv[1], "flights") as catalog:
    catalog.releases.spend("flights", "1", "round 1", (3.0, 3.0), epsilon_of=lambda c, d: min(c), budget=4, delta=0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_spent_is_known_after_a_kill(catalog_url: str) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, catalog_url], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    with open_catalog(catalog_url, "flights") as catalog:
        assert [r.curve for r in catalog.releases.of("flights")] == [(3.0, 3.0)]
        with pytest.raises(Conflict):
            spend(catalog, "2")


def test_many_processes_together_never_exceed_the_budget(catalog: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    code = """
with open_catalog(url, "flights") as catalog:
    try:
        catalog.releases.spend("l", f"k{number}", "w", (1.0,), epsilon_of=lambda c, d: c[0], budget=2.5, delta=0.1)
        print("released")
    except FivefoldError:
        print("refused")
"""
    assert sorted(together(code, catalog_url, 4)) == ["refused", "refused", "released", "released"]


def test_no_order_of_releases_exceeds_the_budget(tmp_path: Path) -> None:
    counter = itertools.count()
    with open_catalog(f"sqlite:///{tmp_path}/c.db", "p") as catalog:

        @settings(max_examples=25, deadline=None)
        @given(st.lists(st.lists(st.floats(0, 5), min_size=2, max_size=2), max_size=8), st.floats(0.1, 10))
        def check(curves: list[list[float]], budget: float) -> None:
            ledger = f"l{next(counter)}"
            for i, curve in enumerate(curves):
                with contextlib.suppress(Conflict):
                    catalog.releases.spend(ledger, str(i), "w", curve, epsilon_of=lambda c, d: min(c), budget=budget, delta=0.1)
            kept = catalog.releases.of(ledger)
            if kept:
                assert min(sum(v) for v in zip(*(r.curve for r in kept), strict=True)) <= budget
                assert [r.epsilon for r in kept] == sorted(r.epsilon for r in kept)

        check()
