from __future__ import annotations

from typing import Any

import pytest

from fivefold.core.errors import Conflict, FivefoldError, NotFound
from fivefold.features.lookup import Lookup
from fivefold.features.state.mark import view_of
from fivefold.lifecycle.release import promote
from fivefold.mlops.materialise import materialise_views
from fivefold.workspace.served import champion, served

AT = 1_772_000_000_000_000


@pytest.fixture
def made(shop: Any) -> Any:
    """A shop with a champion."""
    shop.apply()
    trained = shop.train()
    with shop.open() as w:
        assert promote(w, trained.version).champion
    return shop


def run(shop: Any, *names: str, at: int = AT) -> list[tuple[str, bool]]:
    with shop.open() as w:
        return [(m.view, m.new) for m in materialise_views(w, list(names), at)]


def stored(shop: Any) -> list[str]:
    with shop.open() as w:
        store = w.online()
        try:
            return sorted({view_of(space) for space in store.spaces()})
        finally:
            store.close()


def asked(shop: Any, number: int | None = None, at: int = AT) -> list[Any]:
    """What the champion, or a version, sees of c1 at a moment."""
    with shop.open() as w:
        used = champion(w, "returned") if number is None else served(w, w.catalog.versions.get("returned", number))
        lookup = Lookup(used.model, used.schemas, used.scales, used.online_name)
        store = w.online()
        try:
            (vector,) = lookup.vectors(store, [lookup.accept({"customer_id": "c1", "amount": 1})], at)
            assert not isinstance(vector, FivefoldError)
            return vector.values
        finally:
            store.close()


def test_the_same_again_does_nothing_and_an_earlier_moment_does(made: Any) -> None:
    assert run(made) == [("spending", True)]
    assert run(made) == [("spending", False)]
    assert run(made, "spending") == [("spending", False)]
    assert run(made, at=AT + 1) == [("spending", False)], "what is there answers for every later moment"
    assert run(made, at=AT - 1) == [("spending", True)]


def test_a_view_that_is_not_declared_is_named(made: Any) -> None:
    with pytest.raises(NotFound, match="Did you mean 'spending'"):
        run(made, "spendin")


def test_a_changed_meaning_stands_beside_the_champion_s_own_until_it_is_replaced(made: Any) -> None:
    run(made)
    before, old = asked(made), stored(made)
    made.edit('ff.sum("amount", over="30d")', 'ff.sum("amount", over="9d")')
    made.apply()
    assert run(made) == [("spending", True), ("spending", False)]
    assert len(stored(made)) == 2
    assert asked(made) == before
    assert run(made, at=AT - 10**12) == [("spending", True)] * 2, "the champion's own are kept fresh too"
    run(made)
    trained = made.train()
    assert asked(made, trained.version.number)[1] < before[1], "what is not yet champion finds its values already"
    with made.open() as w:
        assert promote(w, trained.version).champion
    assert run(made) == [("spending", False)]
    assert len(stored(made)) == 1
    assert set(stored(made)).isdisjoint(old)
    assert asked(made)[1] < before[1]


def test_naming_a_view_drops_nothing(made: Any) -> None:
    run(made)
    made.edit('over="30d"', 'over="8d"')
    made.apply()
    run(made, "spending")
    assert len(stored(made)) == 2


def test_changes_that_are_not_applied_are_a_conflict_and_nothing_is_stored(made: Any) -> None:
    made.edit('id="order_id"', 'id="order_id", delay="1h"')
    with pytest.raises(Conflict, match="changes that are not applied: table:orders"):
        run(made)
    assert stored(made) == []


def test_a_champion_whose_source_means_something_else_keeps_what_it_has(made: Any) -> None:
    run(made)
    before = asked(made)
    made.edit('id="order_id"', 'id="order_id", delay="1h"')
    made.apply()
    assert run(made) == [("spending", True)]
    assert len(stored(made)) == 2
    assert asked(made) == before


def test_a_champion_whose_code_is_gone_or_package_damaged_does_not_stop_the_others(made: Any) -> None:
    made.edit('ff.Request("amount", float)]', 'ff.Request("amount", float), ff.Udf("twice", twice, ["amount"], float)]')
    made.edit("import fivefold as ff", "import fivefold as ff\n\ndef twice(x):\n    return x * 2")
    made.apply()
    trained = made.train()
    with made.open() as w:
        assert promote(w, trained.version).champion
        for file in (w.state / "artifacts").rglob("*"):
            if file.is_file():
                file.unlink()
    made.edit("return x * 2", "return x * 3")
    made.apply()
    assert run(made) == [("spending", True)]
