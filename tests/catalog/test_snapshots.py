from __future__ import annotations

from typing import Any

import pytest

from fivefold.catalog import Catalog
from fivefold.core.errors import Conflict, Invalid, NotFound


def test_recording_what_did_not_change_returns_the_snapshot_there_is(catalog: Catalog, clock: Any) -> None:
    first = catalog.snapshots.record("raw", "d1", {"files": ["a"]})
    clock.pass_(10)
    assert catalog.snapshots.record("raw", "d1", {"files": ["a"]}) == first
    assert len(catalog.audit.log()) == 1


def test_a_source_that_returns_to_an_old_state_has_it_as_its_latest(catalog: Catalog) -> None:
    for digest in ("d1", "d2", "d1"):
        catalog.snapshots.record("raw", digest, [digest])
    latest = catalog.snapshots.latest("raw")
    assert latest is not None
    assert (latest.number, latest.digest, latest.parts) == (3, "d1", ["d1"])
    assert catalog.snapshots.get("raw", "d2").number == 2
    assert [s.number for s in catalog.snapshots.history("raw")] == [3, 2, 1]


def test_no_snapshot_is_none_and_an_unknown_digest_is_not_found(catalog: Catalog) -> None:
    assert catalog.snapshots.latest("raw") is None
    catalog.snapshots.record("raw_flights", "d", [])
    with pytest.raises(NotFound, match="Did you mean 'raw_flights'"):
        catalog.snapshots.get("raw_flight", "d")


def test_parts_may_be_large_but_not_endless(catalog: Catalog) -> None:
    parts = [{"path": f"part-{n}.parquet", "sha256": "a" * 64, "rows": n} for n in range(20_000)]
    assert catalog.snapshots.record("raw", "d", parts).parts == catalog.snapshots.get("raw", "d").parts == parts
    with pytest.raises(Invalid, match="parts of 'raw'"):
        catalog.snapshots.record("raw", "e", ["x" * 16_000_000])


def test_a_snapshot_that_follows_another_is_refused_when_a_third_came_between(catalog: Catalog) -> None:
    catalog.snapshots.record("s", "a" * 64, [1], follows="")
    with pytest.raises(Conflict, match="recorded meanwhile"):
        catalog.snapshots.record("s", "b" * 64, [2], follows="")
    catalog.snapshots.record("s", "b" * 64, [2], follows="a" * 64)
    assert catalog.snapshots.record("s", "b" * 64, [2], follows="a" * 64).number == 2, "it is the latest already"
