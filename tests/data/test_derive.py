"""Views are derived part by part, and only where something they are made of changed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

import fivefold as ff
from fivefold.backends.files.tables import Files
from fivefold.core.types import Type
from fivefold.data.derive import derive, view_schema
from fivefold.data.ingest import Places, ingest
from fivefold.data.snapshots import Snapshot

VIEW = ff.View("v", "select r.x * d.k as y, timezone('America/New_York', r.local)::timestamptz as at "
                    "from raw r left join dim d on r.g = d.g", time="at")


@pytest.fixture
def inputs(connection: duckdb.DuckDBPyConnection, places: Places, tmp_path: Path) -> dict[str, Snapshot]:
    (tmp_path / "r1.csv").write_text("x,g,local\n1,a,2026-07-01 10:00:00\n")
    (tmp_path / "r2.csv").write_text("x,g,local\n2,b,2026-01-01 10:00:00\n")
    (tmp_path / "dim.csv").write_text("g,k\na,10\nb,100\n")
    return {n: ingest(connection, ff.Table(n, u), Files(u, root=str(tmp_path)), places, now=0)
            for n, u in (("raw", "r*.csv"), ("dim", "dim.csv"))}


def rows(made: Snapshot, places: Places) -> list[dict[str, object]]:
    return [r for f in made.files(places.tables) for r in pq.read_table(f).to_pylist()]


def test_local_clock_times_become_utc(connection, places, inputs) -> None:  # type: ignore[no-untyped-def]
    made = rows(derive(connection, VIEW, inputs, places, now=0), places)
    assert [(r["y"], str(r["at"])) for r in made] == [(10, "2026-07-01 14:00:00"), (200, "2026-01-01 15:00:00")]


def test_a_row_wise_view_follows_the_partitions_of_its_first_table(connection, places, inputs, tmp_path) -> None:  # type: ignore[no-untyped-def]
    one = derive(connection, VIEW, inputs, places, now=0)
    assert [p.name for p in one.parts] == ["r1.csv", "r2.csv"]
    assert derive(connection, VIEW, inputs, places, now=0, before=one) == one
    (tmp_path / "r3.csv").write_text("x,g,local\n3,a,2026-07-01 10:00:00\n")
    more = {**inputs, "raw": ingest(connection, ff.Table("raw", "r*.csv"), Files("r*.csv", root=str(tmp_path)), places,
                                    now=0, before=inputs["raw"])}
    steps: list[tuple[str, int, int]] = []
    two = derive(connection, VIEW, more, places, now=0, before=one, progress=lambda *a: steps.append(a))
    assert two.parts[:2] == one.parts
    assert [r["y"] for r in rows(two, places)] == [10, 200, 30]
    assert steps == [("view:v", 3, 3)]


def test_a_changed_dimension_derives_every_part_again(connection, places, inputs, tmp_path) -> None:  # type: ignore[no-untyped-def]
    one = derive(connection, VIEW, inputs, places, now=0)
    (tmp_path / "dim2.csv").write_text("g,k\na,11\nb,100\n")
    changed = {**inputs, "dim": ingest(connection, ff.Table("dim", "dim2.csv"), Files("dim2.csv", root=str(tmp_path)),
                                       places, now=0)}
    two = derive(connection, VIEW, changed, places, now=0, before=one)
    assert [r["y"] for r in rows(two, places)] == [11, 200]
    # a part whose rows came out the same keeps its digest, so nothing downstream of it changes
    assert [a.digest == b.digest for a, b in zip(one.parts, two.parts, strict=True)] == [False, True]


def test_an_aggregating_view_is_derived_as_a_whole(connection, places, inputs) -> None:  # type: ignore[no-untyped-def]
    view = ff.View("v", "select g, sum(x) as s from raw group by g order by g")
    made = derive(connection, view, inputs, places, now=0)
    assert [p.name for p in made.parts] == ["all"]
    assert rows(made, places) == [{"g": "a", "s": 1}, {"g": "b", "s": 2}]


def test_checks_of_a_view_quarantine_its_rows(connection, places, inputs) -> None:  # type: ignore[no-untyped-def]
    view = ff.View("v", "select x, g from raw", checks=[ff.check("x < 2", on_fail="quarantine")])
    made = derive(connection, view, inputs, places, now=0)
    assert [r["x"] for r in rows(made, places)] == [1]
    assert made.quarantined == 1


def test_a_view_that_does_not_bind_says_what_duckdb_says(connection) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ff.Invalid) as caught:
        view_schema(connection, ff.View("v", "select amuont from raw"), {"raw": {"amount": Type.INT64}})
    assert "view:v" in str(caught.value)
    assert "amuont" in str(caught.value)
    assert "amount" in str(caught.value)
