from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fivefold.catalog import Catalog
from fivefold.catalog.definitions import Change
from fivefold.core.canonical import digest
from fivefold.core.errors import Conflict, Invalid, NotFound

LATE = Change("model", "late", {"target": "arr_delay > 15"})
FLIGHTS = Change("view", "flights", {"sql": "select 1"})


def test_what_is_applied_is_read_back_with_its_digest(catalog: Catalog, clock: Any) -> None:
    made = catalog.definitions.apply([LATE, FLIGHTS], expected_revision=0, actor="ada")
    assert (made.number, made.changed) == (1, (("model", "late"), ("view", "flights")))
    held = catalog.definitions.applied()["model", "late"]
    assert (held.value, held.digest) == (LATE.value, digest("model", LATE.value))
    assert (held.revision, held.applied_at, held.removed_at, held.actor) == (1, clock.now, None, "ada")


def test_applying_the_same_again_does_nothing_even_at_an_old_revision(catalog: Catalog) -> None:
    catalog.definitions.apply([LATE], expected_revision=0, actor="ada")
    again = catalog.definitions.apply([LATE], expected_revision=0, actor="ada")
    assert (again.number, again.changed) == (1, ())
    assert len(catalog.audit.log()) == 1


def test_an_apply_at_an_old_revision_is_a_conflict_and_changes_nothing(catalog: Catalog) -> None:
    catalog.definitions.apply([LATE], expected_revision=0, actor="ada")
    with pytest.raises(Conflict, match="at revision 1, not 0"):
        catalog.definitions.apply([LATE, FLIGHTS], expected_revision=0, actor="bob")
    assert list(catalog.definitions.applied()) == [("model", "late")]


def test_history_keeps_every_definition_and_the_state_at_every_revision(catalog: Catalog, clock: Any) -> None:
    second = Change("model", "late", {"target": "arr_delay > 30"})
    catalog.definitions.apply([LATE, FLIGHTS], expected_revision=0, actor="ada")
    changed_at = clock.pass_(5)
    catalog.definitions.apply([second], expected_revision=1, actor="bob")
    removed_at = clock.pass_(5)
    catalog.definitions.apply([Change("model", "late")], expected_revision=2, actor="cy")

    assert [(d.value, d.removed_at, d.actor) for d in catalog.definitions.history("model", "late")] == [
        (LATE.value, changed_at, "ada"), (second.value, removed_at, "bob")]
    assert [sorted(n for _, n in catalog.definitions.applied(r)) for r in range(4)] == [
        [], ["flights", "late"], ["flights", "late"], ["flights"]]
    assert catalog.definitions.applied(1)["model", "late"].value == LATE.value
    assert catalog.definitions.applied(2)["model", "late"].value == second.value
    assert catalog.definitions.applied() == catalog.definitions.applied(3)
    assert [e.action for e in catalog.audit.log(subject="model/late")] == ["remove", "apply", "apply"]


def test_removing_what_is_not_applied_does_nothing(catalog: Catalog) -> None:
    assert catalog.definitions.apply([Change("model", "none")], expected_revision=0, actor="ada").number == 0


def test_one_name_twice_in_an_apply_is_invalid(catalog: Catalog) -> None:
    with pytest.raises(Invalid, match="'late' is given twice"):
        catalog.definitions.apply([LATE, LATE], expected_revision=0, actor="ada")


def test_pinned_values_stay_with_a_changed_definition(catalog: Catalog) -> None:
    catalog.definitions.apply([FLIGHTS], expected_revision=0, actor="ada")
    assert catalog.definitions.pin("view", "flights", {"distance": 20}, actor="ada").pinned == {"distance": 20}
    catalog.definitions.pin("view", "flights", {"distance": 20}, actor="ada")
    catalog.definitions.apply([Change("view", "flights", {"sql": "select 2"})], expected_revision=1, actor="ada")
    catalog.definitions.pin("view", "flights", {"delay": 12}, actor="ada")
    assert catalog.definitions.applied()["view", "flights"].pinned == {"distance": 20, "delay": 12}
    assert [e.action for e in catalog.audit.log()] == ["pin", "apply", "pin", "apply"]


def test_a_pinned_value_never_changes(catalog: Catalog) -> None:
    catalog.definitions.apply([FLIGHTS], expected_revision=0, actor="ada")
    catalog.definitions.pin("view", "flights", {"distance": 20}, actor="ada")
    with pytest.raises(Conflict, match="'distance' is pinned to 20, not 21"):
        catalog.definitions.pin("view", "flights", {"distance": 21, "delay": 1}, actor="ada")
    assert catalog.definitions.applied()["view", "flights"].pinned == {"distance": 20}


def test_pinning_to_an_unknown_definition_names_the_nearest_one(catalog: Catalog) -> None:
    catalog.definitions.apply([FLIGHTS], expected_revision=0, actor="ada")
    with pytest.raises(NotFound, match="Did you mean 'flights'"):
        catalog.definitions.pin("view", "flight", {"distance": 1}, actor="ada")


def test_of_many_processes_that_apply_at_once_one_wins(
        catalog: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    code = """
from fivefold.catalog.definitions import Change
with open_catalog(url, "flights") as c:
    try:
        print(c.definitions.apply([Change("model", f"m{number}", {"n": number}), Change("model", "same", number)],
                                  expected_revision=0, actor="ada").number)
    except FivefoldError as e:
        print(type(e).__name__)
"""
    assert sorted(together(code, catalog_url, 4)) == ["1"] + ["Conflict"] * 3
    applied = catalog.definitions.applied()
    winner = applied["model", "same"].value
    assert sorted(applied) == [("model", f"m{winner}"), ("model", "same")]
