"""A name belongs to one owner for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fivefold.catalog import Catalog
from fivefold.core.errors import Invalid


def test_a_name_is_the_first_ones_until_its_time_is_over(catalog: Catalog, clock: Any) -> None:
    leases = catalog.leases
    held = leases.acquire("n", "ann", 10)
    assert held is not None
    assert (held.owner, held.fence, held.until) == ("ann", 1, clock.now + 10)
    assert leases.acquire("n", "bob", 10) is None
    clock.pass_(9)
    assert leases.acquire("n", "bob", 10) is None
    clock.pass_(1)
    taken = leases.acquire("n", "bob", 10)
    assert taken is not None
    assert taken.fence == 2
    assert leases.acquire("n", "ann", 10) is None


def test_the_owner_renews_without_a_new_fence(catalog: Catalog, clock: Any) -> None:
    catalog.leases.acquire("n", "ann", 10)
    clock.pass_(5)
    again = catalog.leases.acquire("n", "ann", 10)
    assert again is not None
    assert (again.fence, again.until) == (1, clock.now + 10)


def test_what_was_given_back_is_free_and_its_fence_goes_on(catalog: Catalog) -> None:
    catalog.leases.acquire("n", "ann", 10)
    catalog.leases.release("n", "bob")
    assert catalog.leases.acquire("n", "bob", 10) is None
    catalog.leases.release("n", "ann")
    catalog.leases.release("nothing", "ann")
    taken = catalog.leases.acquire("n", "bob", 10)
    assert taken is not None
    assert taken.fence == 2


def test_those_held_are_listed_by_how_they_begin(catalog: Catalog, clock: Any) -> None:
    for name in ("a%:1", "a%:2", "ab:1"):
        catalog.leases.acquire(name, "ann", 10)
    assert [one.name for one in catalog.leases.held("a%:")] == ["a%:1", "a%:2"]
    clock.pass_(10)
    assert catalog.leases.held("") == ()


def test_projects_do_not_share_names(catalog: Catalog, other_project: Catalog) -> None:
    catalog.leases.acquire("n", "ann", 10)
    assert other_project.leases.acquire("n", "bob", 10) is not None


def test_a_name_that_is_none_is_refused(catalog: Catalog) -> None:
    with pytest.raises(Invalid):
        catalog.leases.acquire("", "ann", 10)


def test_of_many_processes_at_once_one_gets_it(
    catalog: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]
) -> None:
    code = """
with open_catalog(url, "flights") as catalog:
    print(catalog.leases.acquire("n", f"o{number}", 60_000_000) is not None)
"""
    assert sorted(together(code, catalog_url, 4)) == ["False", "False", "False", "True"]
