from __future__ import annotations

from collections.abc import Callable

import pytest

from fivefold.catalog import Catalog
from fivefold.core.errors import Conflict, NotFound


def test_versions_are_numbered_by_model_and_read_back(catalog: Catalog) -> None:
    catalog.runs.create("r1", "train", "late")
    first = catalog.versions.register("late", "k1", artifact="a1", run_id="r1", info={"auc": 0.8}, actor="ada")
    second = catalog.versions.register("late", "k2", artifact="a2")
    other = catalog.versions.register("early", "k1", artifact="a1")
    assert [(v.model, v.number) for v in (first, second, other)] == [("late", 1), ("late", 2), ("early", 1)]
    assert catalog.versions.get("late", 1) == first
    assert catalog.versions.by_key("late", "k2") == second
    assert catalog.versions.by_key("late", "k3") is None
    assert catalog.versions.list("late") == (second, first)
    assert catalog.versions.list("late", limit=1, before=2) == (first,)
    assert len(catalog.versions.list()) == 3
    assert catalog.versions.models() == {"early": 1, "late": 2}


def test_the_same_key_returns_the_version_there_is(catalog: Catalog) -> None:
    first = catalog.versions.register("late", "k", artifact="a", info={"x": 1})
    assert catalog.versions.register("late", "k", artifact="a", info={"x": 2}) == first
    assert len(catalog.audit.log()) == 1


def test_the_same_inputs_with_another_output_are_a_conflict_that_says_why(catalog: Catalog) -> None:
    catalog.versions.register("late", "k", artifact="a")
    with pytest.raises(Conflict, match="not repeatable"):
        catalog.versions.register("late", "k", artifact="b")


def test_what_does_not_exist_is_named_with_what_does(catalog: Catalog) -> None:
    catalog.versions.register("late", "k", artifact="a")
    with pytest.raises(NotFound, match=r"no version of 'late' '7' \(have: 1\)"):
        catalog.versions.get("late", 7)
    with pytest.raises(NotFound, match="Did you mean 'late'"):
        catalog.versions.get("lat", 1)
    with pytest.raises(NotFound, match="no run 'none'"):
        catalog.versions.register("late", "k2", artifact="a", run_id="none")


def test_twenty_processes_registering_one_key_get_one_version(
        catalog: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    code = """
with open_catalog(url, "flights") as c:
    c.versions.register("late", f"own{number}", artifact="a")
    print(c.versions.register("late", "same", artifact="a").number)
"""
    numbers = together(code, catalog_url, 20)
    assert len(set(numbers)) == 1
    assert sorted(v.number for v in catalog.versions.list("late")) == list(range(1, 22))
