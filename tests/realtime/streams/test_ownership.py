"""Workers share a stream's partitions, and take over those of one that died."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fivefold.catalog import Catalog, open_catalog
from fivefold.realtime.streams.ownership import LEASE, Member


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db", "p", clock=clock) as opened:
        yield opened


def settled(*members: Member) -> list[int]:
    """How many partitions each has after a few rounds; none is anybody's twice, and none nobody's."""
    for _ in range(3):
        for member in members:
            member.balance()
    every = [p for member in members for p in member.owned]
    assert len(every) == len(set(every))
    return [len(member.owned) for member in members]


def test_one_alone_has_all(catalog: Catalog) -> None:
    assert Member(catalog.leases, "s", 4, "a").balance() == (0, 1, 2, 3)


@pytest.mark.parametrize(("partitions", "workers", "shares"), [
    (4, 2, [2, 2]), (4, 3, [2, 1, 1]), (5, 2, [3, 2]), (2, 3, [1, 1, 0]), (1, 2, [1, 0]),
])
def test_work_is_shared_as_evenly_as_it_divides(catalog: Catalog, partitions: int, workers: int, shares: list[int]) -> None:
    members = [Member(catalog.leases, "s", partitions, f"w{n}") for n in range(workers)]
    assert settled(*members) == shares
    assert sorted(p for member in members for p in member.owned) == list(range(partitions))


def test_one_that_joins_gets_only_what_was_left_before(catalog: Catalog) -> None:
    first, second = (Member(catalog.leases, "s", 4, name) for name in "ab")
    left: list[int] = []
    first.balance()
    assert second.balance() == ()
    first.balance(left.append)
    assert left == [2, 3]
    assert second.balance() == (2, 3)


def test_what_one_that_died_had_is_free_when_its_lease_is_over(catalog: Catalog, clock: Clock) -> None:
    first, second = (Member(catalog.leases, "s", 4, name) for name in "ab")
    assert settled(first, second) == [2, 2]
    clock.now += LEASE - 1
    assert len(second.balance()) == 2
    clock.now += 1
    assert second.balance() == (0, 1, 2, 3)
    lost: list[int] = []
    # it was only asleep: it finds out before it does anything
    assert first.balance(lost.append) == ()
    assert sorted(lost) == [0, 1]
    assert settled(first, second) == [2, 2]


def test_one_that_leaves_frees_all_at_once(catalog: Catalog) -> None:
    first, second = (Member(catalog.leases, "s", 4, name) for name in "ab")
    settled(first, second)
    first.leave()
    assert first.owned == ()
    assert second.balance() == (0, 1, 2, 3)


def test_streams_are_shared_apart(catalog: Catalog) -> None:
    assert [Member(catalog.leases, stream, 2, "a").balance() for stream in "st"] == [(0, 1), (0, 1)]
