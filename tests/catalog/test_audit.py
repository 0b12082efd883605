from __future__ import annotations

from typing import Any

from fivefold.catalog import Catalog


def test_entries_come_newest_first_and_page_by_page(catalog: Catalog, clock: Any) -> None:
    for number in range(5):
        clock.pass_(1)
        catalog.snapshots.record("raw", f"d{number}", [], actor="ada")
    catalog.snapshots.record("other", "d", [], actor="bob")
    log = catalog.audit.log()
    assert [(e.actor, e.action, e.subject, e.before, e.after) for e in log[:2]] == [
        ("bob", "snapshot", "source/other", None, "d"), ("ada", "snapshot", "source/raw", "d3", "d4")]
    first = catalog.audit.log(subject="source/raw", limit=3)
    rest = catalog.audit.log(subject="source/raw", before_id=first[-1].id)
    assert [e.after for e in (*first, *rest)] == ["d4", "d3", "d2", "d1", "d0"]
    assert [e.at for e in first] == sorted((e.at for e in first), reverse=True)
