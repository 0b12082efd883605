"""A materialisation that is killed at any step leaves each view whole, as of rows that its mark names, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fivefold.features.state.mark import Mark, mark_of, past_space, view_of
from fivefold.mlops import plan as plans
from fivefold.mlops.apply import apply
from fivefold.ports.online import MARK
from fivefold.workspace import open_workspace

AT = "2026-02-20T00:00:00Z"


def held(root: Path) -> dict[str, tuple[Mark, dict[bytes, bytes]]]:
    """By view that can be read: its mark, and all its values."""
    with open_workspace(root) as w:
        store = w.online()
        try:
            views = {view_of(space) for space in store.spaces()}
            marks = {view: mark for view in views if (mark := mark_of(store, view)) is not None}
            return {view: (mark, dict(store.scan(past_space(view, mark)))) for view, mark in marks.items()}
        finally:
            store.close()


def left_behind(root: Path) -> list[str]:
    """Spaces that no view reads."""
    with open_workspace(root) as w:
        store = w.online()
        try:
            read = {(view, MARK): past_space(view, mark) for view, (mark, _) in held(root).items()}
            return [s for s in store.spaces() if s not in read.values() and (s, MARK) not in read]
        finally:
            store.close()


def test_killed_while_it_builds_nobody_sees_half_and_the_next_one_ends_it(shop: Any, tmp_path: Path, every: int) -> None:
    whole = shop.copy(tmp_path / "whole")
    steps = whole.run("materialize", "--at", AT)
    new = held(whole.root)
    assert len(new) == 1
    assert steps >= 14
    seen = []
    for point in range(1, steps + 1, every):
        copy = shop.copy(tmp_path / "copy")
        assert copy.run("materialize", "--at", AT, dies_at=point) == -9
        left = held(copy.root)
        assert left in ({}, new)
        seen.append(bool(left))
        if point % 3 == 0 or not left:
            copy.run("materialize", "--at", AT)
            assert held(copy.root) == new
            assert left_behind(copy.root) == []
    assert seen == sorted(seen), "once it is there it stays"
    assert {False, True} == set(seen)


@pytest.fixture
def grown(shop: Any) -> Any:
    """A shop whose view is materialised, and whose orders have a part more since."""
    project = shop.root / "project.py"
    project.write_text(project.read_text().replace("data/orders.csv", "data/orders*.csv"))
    first = (shop.root / "data" / "orders.csv").read_text().splitlines()
    with open_workspace(shop.root, actor="ann") as w:
        apply(w, plans.check(w), plans.plan(w))
    shop.run("materialize", "--at", AT)
    more = [first[0], *(f"{9000 + i},c{i % 70},2026-02-1{i % 9}T0{i % 10}:30:00,{i}.5,true" for i in range(200)), first[7]]
    (shop.root / "data" / "orders_more.csv").write_text("\n".join(more) + "\n")
    with open_workspace(shop.root, actor="ann") as w:
        apply(w, plans.check(w), plans.plan(w))
    return shop


def test_killed_while_it_adds_a_part_it_goes_on_behind_the_rows_that_are_in(grown: Any, tmp_path: Path, every: int) -> None:
    old = held(grown.root)
    whole = grown.copy(tmp_path / "whole")
    steps = whole.run("materialize", "--at", AT)
    new = held(whole.root)
    ((before, _),), ((after, values),) = old.values(), new.values()
    assert (before.made_of, before.snapshot != after.snapshot) == (after.made_of, True), "nothing was made anew"
    assert after.entities == 70
    inside = []
    for point in range(1, steps + 1, every):
        copy = grown.copy(tmp_path / "copy")
        assert copy.run("materialize", "--at", AT, dies_at=point) == -9
        ((mark, left),) = held(copy.root).values()
        if mark.snapshot == before.snapshot:
            assert left == next(iter(old.values()))[1]
            inside.append(0)
        else:
            inside.append(dict(mark.pending).get(1, 201))
        copy.run("materialize", "--at", AT)
        ((mark, left),) = held(copy.root).values()
        assert (mark, left) == (after, values), f"killed at {point}"
    assert inside == sorted(inside)
    assert {0, 60, 120, 180, 201} == set(inside), "each commit's end was seen"
