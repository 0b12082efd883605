from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.catalog import Catalog
from fivefold.core.errors import Conflict, Invalid, NotFound


@pytest.fixture
def late(catalog: Catalog) -> Catalog:
    """A catalog whose model `late` has three versions."""
    for number in range(3):
        catalog.versions.register("late", f"k{number}", artifact="a")
    return catalog


def test_an_alias_moves_only_from_where_it_is_expected(late: Catalog) -> None:
    late.aliases.move("late", "champion", 1, expected=None, actor="ada")
    late.aliases.move("late", "champion", 2, expected=1, actor="bob", reason="better", decision={"auc": 0.8})
    with pytest.raises(Conflict, match="points to version 2, not to version 1"):
        late.aliases.move("late", "champion", 3, expected=1, actor="cy")
    with pytest.raises(Conflict, match="points to version 2, not to no version"):
        late.aliases.move("late", "champion", 3, expected=None, actor="cy")
    assert late.aliases.current("late", "champion") == 2
    assert late.aliases.all() == {("late", "champion"): 2}
    last = late.aliases.history("late")[-1]
    assert (last.version, last.actor, last.reason, last.decision) == (2, "bob", "better", {"auc": 0.8})
    assert [(e.actor, e.before, e.after) for e in late.audit.log(subject="model/late@champion")] == [
        ("bob", "1", "2"), ("ada", None, "1")]


def test_an_alias_may_point_to_nothing_again(late: Catalog) -> None:
    late.aliases.move("late", "champion", 1, expected=None, actor="ada")
    late.aliases.move("late", "champion", None, expected=1, actor="ada")
    assert late.aliases.current("late", "champion") is None
    assert late.aliases.all("late") == {}
    late.aliases.move("late", "champion", 2, expected=None, actor="ada")
    assert late.aliases.all("late") == {("late", "champion"): 2}


def test_an_alias_cannot_point_to_a_version_that_does_not_exist(late: Catalog) -> None:
    with pytest.raises(NotFound, match="no version 9 of the model 'late'"):
        late.aliases.move("late", "champion", 9, expected=None, actor="ada")


def test_a_move_repeated_under_its_key_is_made_once(late: Catalog) -> None:
    first = late.aliases.move("late", "champion", 1, expected=None, actor="ada", key="k")
    late.aliases.move("late", "champion", 2, expected=1, actor="ada")
    assert late.aliases.move("late", "champion", 1, expected=None, actor="ada", key="k") == first
    assert late.aliases.current("late", "champion") == 2
    with pytest.raises(Conflict, match="'k' moved late@champion to 1 before, not to 3"):
        late.aliases.move("late", "champion", 3, expected=None, actor="ada", key="k")


def test_what_served_then_and_what_was_known_then_are_two_questions(late: Catalog, clock: Any) -> None:
    moved = clock.pass_(10)
    late.aliases.move("late", "champion", 1, expected=None, actor="ada")
    clock.pass_(100)
    late.aliases.move("late", "champion", 2, expected=1, actor="ada")
    before_correction = clock.pass_(100)
    clock.pass_(1)
    late.aliases.correct("late", "champion", 3, valid_from=moved + 20, valid_to=moved + 40, actor="bob",
                         reason="rolled out by hand")

    def served(at: int, known: int | None = None) -> int | None:
        change = late.aliases.at("late", "champion", at, known)
        return change.version if change else None

    assert [served(moved + t) for t in (-1, 0, 19, 20, 39, 40, 99, 100)] == [None, 1, 1, 3, 3, 1, 1, 2]
    assert [served(moved + t, before_correction) for t in (-1, 0, 20, 39, 100)] == [None, 1, 1, 1, 2]
    assert served(moved + 20, moved - 1) is None
    assert late.aliases.current("late", "champion") == 2


def test_a_correction_lies_in_the_past(late: Catalog, clock: Any) -> None:
    for times in ({"valid_from": clock.now}, {"valid_from": 5, "valid_to": 5}, {"valid_from": 5, "valid_to": 4},
                  {"valid_from": 5, "valid_to": clock.now + 1}):
        with pytest.raises(Invalid, match="does not lie in the past"):
            late.aliases.correct("late", "champion", 1, **times, actor="ada", reason="")


def test_a_clock_that_was_set_back_does_not_hide_the_newest_move(late: Catalog, clock: Any) -> None:
    late.aliases.move("late", "champion", 1, expected=None, actor="ada")
    clock.pass_(-500)
    late.aliases.move("late", "champion", 2, expected=1, actor="ada")
    assert late.aliases.current("late", "champion") == 2


MOVE = st.tuples(st.just("move"), st.sampled_from([None, 1, 2, 3]))
CORRECT = st.tuples(st.just("correct"), st.sampled_from([None, 1, 2, 3]), st.integers(0, 30),
                    st.one_of(st.none(), st.integers(1, 30)))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.one_of(MOVE, CORRECT), max_size=8))
def test_moves_and_corrections_agree_with_a_plain_timeline(catalog: Catalog, clock: Any, acts: list[Any]) -> None:
    model, start = uuid.uuid4().hex, clock.pass_(1_000)
    for number in range(3):
        catalog.versions.register(model, f"k{number}", artifact="a")
    line: dict[int, int | None] = dict.fromkeys(range(200))
    changes: set[int] = set()
    known = {start: dict(line)}
    for act, to, *times in acts:
        now = clock.pass_(3) - start
        if act == "move":
            catalog.aliases.move(model, "a", to, expected=catalog.aliases.current(model, "a"), actor="ada")
            line.update(dict.fromkeys(range(now, 200), to))
            changes.add(now)
        else:
            begin, end = times[0], times[1]
            if not begin < (now if end is None else end) <= now:
                continue
            catalog.aliases.correct(model, "a", to, valid_from=start + begin, actor="ada", reason="",
                                    valid_to=None if end is None else start + end)
            until = min((c for c in changes if c > begin), default=200) if end is None else end
            line.update(dict.fromkeys(range(begin, until), to))
            changes |= {begin} if end is None else {begin, end}
        known[start + now] = dict(line)
    for when, then in known.items():
        for at in range(0, 60, 2):
            found = catalog.aliases.at(model, "a", start + at, when)
            assert (found.version if found else None) == then[at], (at, when - start)
    assert catalog.aliases.current(model, "a") == line[199]


def test_of_processes_that_move_an_alias_at_once_one_wins_each_round(
        late: Catalog, catalog_url: str, together: Callable[[str, str, int], list[str]]) -> None:
    code = """
won = 0
with open_catalog(url, "flights") as c:
    while True:
        now = c.aliases.current("late", "champion")
        if len(c.aliases.history("late")) >= 30:
            break
        try:
            c.aliases.move("late", "champion", (now or 0) % 3 + 1, expected=now, actor=f"p{number}")
            won += 1
        except FivefoldError as e:
            assert type(e).__name__ == "Conflict", e
print(won)
"""
    won = together(code, catalog_url, 4)
    history = late.aliases.history("late")
    assert sum(map(int, won)) == len(history) >= 30
    assert [change.version for change in history] == [n % 3 + 1 for n in range(len(history))]
