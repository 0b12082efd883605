"""What is known of ids is what was committed, after any commits, a restart, or another worker's commit."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

import fivefold.realtime.streams.ids as ids_module
from fivefold.backends import connect
from fivefold.core.errors import Conflict
from fivefold.core.types import Type
from fivefold.ports.online import MARK, OnlineStore, Write
from fivefold.realtime.streams.ids import Ids
from fivefold.realtime.streams.prints import prints_of

SPACE = "s#intake/s.0"


def prints(*names: str) -> ids_module.Prints:
    return prints_of(pa.array(names, pa.string()), Type.STRING)


def commit(store: OnlineStore, ids: Ids, fresh: dict[int, list[str]], oldest: int = -(2**62)) -> None:
    change = ids.change({s: prints(*names) for s, names in fresh.items()}, oldest)
    (mark,) = store.get([(SPACE, MARK)])
    store.commit([Write(SPACE, change.items, str(int(mark or b"0") + 1).encode(), mark)])
    ids.made(change)


def near(ids: Ids, stretch: int, *names: str) -> list[bool]:
    return ids.near(np.full(len(names), stretch), prints(*names)).tolist()


@pytest.fixture
def store() -> OnlineStore:
    return connect(OnlineStore, "memory:")


@pytest.fixture(params=["usual", "tiny"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and filters so small that many are full, and filters that say maybe of nearly all."""
    if request.param == "tiny":
        monkeypatch.setattr(ids_module, "LONGEST_RUN", 16)
        monkeypatch.setattr(ids_module, "SMALLEST_FILTER", 8)
        monkeypatch.setattr(ids_module, "LARGEST_FILTER", 64)


def test_an_id_is_known_in_its_stretch_and_those_beside_it(store: OnlineStore) -> None:
    ids = Ids(store, SPACE)
    commit(store, ids, {-3: ["a"], 0: ["b"]})
    assert [near(ids, s, "a", "b") for s in (-5, -4, -3, -2, -1, 0, 1, 2)] == [
        [False, False], [True, False], [True, False], [True, False], [False, True], [False, True], [False, True],
        [False, False]]


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize("seed", range(4))
def test_after_any_commits_and_restarts_it_knows_what_a_set_knows(store: OnlineStore, seed: int) -> None:
    chance = random.Random(seed)
    ids, model, oldest = Ids(store, SPACE), set[tuple[int, str]](), 0
    for _ in range(120):
        if chance.random() < 0.1:
            ids = Ids(store, SPACE)
        oldest += chance.random() < 0.05
        stretches = np.array([oldest + 1 + chance.randrange(4) for _ in range(chance.choice([1, 1, 2, 9, 40]))])
        names = [f"n{chance.randrange(3000)}" for _ in stretches]
        known = ids.near(stretches, prints(*names)).tolist()
        expected = [any((s + d, n) in model for d in (-1, 0, 1)) for s, n in zip(stretches.tolist(), names, strict=True)]
        assert known == expected
        fresh: dict[int, list[str]] = {}
        for s, n, was in zip(stretches.tolist(), names, known, strict=True):
            if not was and not any(n in fresh.get(s + d, []) for d in (-1, 0, 1)):
                fresh.setdefault(s, []).append(n)
        model |= {(s, n) for s, found in fresh.items() for n in found}
        model = {(s, n) for s, n in model if s >= oldest}
        commit(store, ids, fresh, oldest)
    assert len(list(store.scan(SPACE))) < 1000


def test_runs_are_few_and_none_is_long(store: OnlineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module, "LONGEST_RUN", 64)
    ids = Ids(store, SPACE)
    for n in range(1000):
        commit(store, ids, {0: [f"n{n}"]})
    sizes = [len(value) // 16 for _, value in store.scan(SPACE)]
    assert sum(sizes) == 1000
    assert max(sizes) <= 64
    assert len(sizes) <= 1000 // 64 + 7


def test_what_is_older_than_the_oldest_stretch_leaves_nothing(store: OnlineStore) -> None:
    ids = Ids(store, SPACE)
    for stretch in range(5):
        commit(store, ids, {stretch: ["a", "b"]})
    assert near(ids, 1, "a") == [True]
    commit(store, ids, {}, oldest=10)
    assert list(store.scan(SPACE)) == []
    assert near(ids, 1, "a") == [False]


def test_a_change_that_was_not_committed_changes_nothing_that_is_known(store: OnlineStore) -> None:
    ids = Ids(store, SPACE)
    commit(store, ids, {0: ["a"]})
    assert near(ids, 0, "b") == [False]
    ids.change({0: prints("b"), 1: prints("c")}, 0)
    ids.change({}, 5)
    assert near(ids, 0, "a", "b", "c") == [True, False, False]
    commit(store, ids, {0: ["d"]})
    assert near(Ids(store, SPACE), 0, "a", "b", "c", "d") == [True, False, False, True]


@pytest.mark.parametrize("does", [
    lambda ids: ids.near(np.zeros(1, np.int64), prints("a")),
    lambda ids: ids.change({0: prints("new")}, 0),
])
def test_a_run_that_another_worker_has_joined_is_a_conflict(store: OnlineStore, does: Callable[[Ids], object]) -> None:
    commit(store, Ids(store, SPACE), {0: ["a"]})
    ids, other = Ids(store, SPACE), Ids(store, SPACE)
    commit(store, other, {0: ["b"]})
    with pytest.raises(Conflict):
        does(ids)
    assert near(Ids(store, SPACE), 0, "a", "b") == [True, True]


def test_most_new_ids_are_not_asked_for(store: OnlineStore) -> None:
    ids = Ids(store, SPACE)
    for start in range(0, 200_000, 20_000):
        commit(store, ids, {0: [f"n{n}" for n in range(start, start + 20_000)]})
        near(ids, 0, "x")
    filter_ = ids._filters[0]
    assert filter_.may_have(prints(*(f"n{n}" for n in range(200_000)))).all()
    assert filter_.may_have(prints(*(f"m{n}" for n in range(100_000)))).mean() < 1 / 300
