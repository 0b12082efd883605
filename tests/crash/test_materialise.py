"""A materialisation that is killed at any step leaves each view whole: as it was, or as it was to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fivefold.features.entity_keys import key_bytes
from fivefold.ports.online import MARK
from fivefold.workspace import open_workspace

FIRST, SECOND = "2026-02-01T00:00:00Z", "2026-02-20T00:00:00Z"


def held(root: Path) -> dict[str, tuple[bytes | None, ...]]:
    """All that is in the online store, by view."""
    with open_workspace(root) as w:
        store = w.online()
        try:
            return {view: tuple(store.get([(view, MARK), *((view, key_bytes([f"c{i}"])) for i in range(60))]))
                    for view in store.spaces()}
        finally:
            store.close()


def test_killed_at_any_step_the_values_are_the_old_or_the_new_ones(shop: Any, tmp_path: Path) -> None:
    shop.run("materialize", "--at", FIRST)
    old = held(shop.root)
    whole = shop.copy(tmp_path / "whole")
    steps = whole.run("materialize", "--at", SECOND)
    new = held(whole.root)
    assert set(old) == set(new)
    assert all(old[view] != new[view] for view in old)
    assert steps >= 12
    seen = []
    for point in range(1, steps + 1):
        copy = shop.copy(tmp_path / "copy")
        assert copy.run("materialize", "--at", SECOND, dies_at=point) == -9
        left = held(copy.root)
        assert left in (old, new)
        seen.append(left == new)
    assert seen == sorted(seen), "once it is there it stays"
    assert {False, True} == set(seen)
    copy.run("materialize", "--at", SECOND)
    assert held(copy.root) == new
