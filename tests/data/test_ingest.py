"""Tables come in: typed, checked, quarantined, and only what is new is read again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fivefold as ff
from fivefold.backends.files.tables import Files
from fivefold.core.types import Type
from fivefold.data.ingest import Places, ingest
from fivefold.data.snapshots import Snapshot, quarantine_file

NOW = 1_800_000_000_000_000


def take_in(connection: duckdb.DuckDBPyConnection, places: Places, root: Path, table: ff.Table, *,
            before: Snapshot | None = None, ranges: dict[str, float] | None = None) -> Snapshot:
    return ingest(connection, table, Files(table.url, root=str(root)), places, now=NOW, before=before, ranges=ranges)


def rows(snapshot: Snapshot, places: Places) -> list[dict[str, object]]:
    return [r for f in snapshot.files(places.tables) for r in pq.read_table(f).to_pylist()]


def set_aside(snapshot: Snapshot, places: Places) -> list[dict[str, object]]:
    return [r for p in snapshot.parts if p.quarantine
            for r in pq.read_table(quarantine_file(places.tables, snapshot.source, p.quarantine)).to_pylist()]


def test_csv_types_are_found_and_kept(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("i,f,b,s,t\n1,0.5,true,x,2026-01-01T10:00:00+02:00\n2,,false,,2026-01-02 00:00:00\n")
    made = take_in(connection, places, tmp_path, ff.Table("a", "a.csv"))
    assert dict(made.schema) == {"i": Type.INT64, "f": Type.FLOAT64, "b": Type.BOOL, "s": Type.STRING, "t": Type.TIMESTAMP}
    first, second = rows(made, places)
    assert (first["i"], first["f"], first["b"], first["s"]) == (1, 0.5, True, "x")
    assert str(first["t"]) == "2026-01-01 08:00:00"
    assert (second["f"], second["s"]) == (None, None)


def test_parquet_and_json_come_in_alike(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    table = pa.table({"i": pa.array([1, None], pa.int32()), "f": pa.array([float("nan"), -0.0], pa.float32()),
                      "d": pa.array([None, 5], pa.decimal128(5, 2))})
    pq.write_table(table, tmp_path / "a.parquet")
    made = rows(take_in(connection, places, tmp_path, ff.Table("a", "a.parquet")), places)
    assert made == [{"i": 1, "f": None, "d": None}, {"i": None, "f": 0.0, "d": 5.0}]
    assert str(made[1]["f"]) == "0.0"
    (tmp_path / "b.json").write_text('{"i": 1, "s": "é"}\n{"i": null, "s": "😀"}\n')
    assert rows(take_in(connection, places, tmp_path, ff.Table("b", "b.json")), places) == [
        {"i": 1, "s": "é"}, {"i": None, "s": "😀"}]


def test_only_new_and_changed_partitions_are_read_again(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for month in (1, 2):
        (tmp_path / f"m{month}.csv").write_text(f"x\n{month}\n")
    table = ff.Table("t", "m*.csv")
    one = take_in(connection, places, tmp_path, table)
    same = take_in(connection, places, tmp_path, table, before=one)
    assert same == one
    (tmp_path / "m3.csv").write_text("x\n3\n")
    two = take_in(connection, places, tmp_path, table, before=one)
    assert two.parts[:2] == one.parts
    assert [r["x"] for r in rows(two, places)] == [1, 2, 3]
    (tmp_path / "m1.csv").write_text("x\n9\n")
    os.utime(tmp_path / "m1.csv", ns=(5, 5))
    three = take_in(connection, places, tmp_path, table, before=two)
    assert [r["x"] for r in rows(three, places)] == [9, 2, 3]
    assert [a.digest == b.digest for a, b in zip(two.parts, three.parts, strict=True)] == [False, True, True]


def test_the_same_rows_have_the_same_digest_however_they_are_stored(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("x\n" + "\n".join(map(str, range(300_000))) + "\n")
    pq.write_table(pa.table({"x": range(300_000)}), tmp_path / "a.parquet", row_group_size=7_000)
    one = take_in(connection, places, tmp_path, ff.Table("a", "a.csv"))
    two = take_in(connection, places, tmp_path, ff.Table("a", "a.parquet"))
    assert one.digest == two.digest
    assert one.rows == 300_000


def test_a_text_in_a_number_column_is_named_with_row_and_value(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "m1.csv").write_text("x,y\n1,1.5\n2,2\n")
    table = ff.Table("t", "m*.csv")
    one = take_in(connection, places, tmp_path, table)
    (tmp_path / "m2.csv").write_text("x,y\n1,1\noops,2\n2.5,3\n")
    with pytest.raises(ff.Invalid) as caught:
        take_in(connection, places, tmp_path, table, before=one)
    assert "m2.csv: 2 of its rows break the check 'types': row 2 has x = 'oops' (not int64); row 3 has x = '2.5'" in str(caught.value)
    assert "ff.typed()" in str(caught.value)


def test_quarantined_rows_keep_origin_reasons_and_original_values(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("id,x\n1,5\n2,-5\n2,7\n3,what\n4,\n")
    table = ff.Table("a", "a.csv", schema={"id": int, "x": int}, checks=[
        ff.typed(), ff.check("x > 0", on_fail="quarantine"), ff.unique("id", on_fail="quarantine"),
        ff.check("x < 6", on_fail="warn", name="small")])
    made = take_in(connection, places, tmp_path, table)
    # null passes a check, as in SQL; the second row of a pair is the duplicate
    assert [r["id"] for r in rows(made, places)] == [1, 4]
    aside = set_aside(made, places)
    assert [(r["source"], r["row"], r["reasons"]) for r in aside] == [
        ("a.csv", 2, ["x > 0"]), ("a.csv", 3, ["unique(id)"]), ("a.csv", 4, ["x is not int64: what"])]
    assert json.loads(str(aside[2]["original"])) == {"id": "3", "x": "what"}
    assert made.parts[0].quarantined == 3
    assert dict(made.parts[0].warnings) == {"small": 1}


def test_a_text_in_a_float_column_is_a_broken_type_and_a_nan_is_not(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("a,b\n1.5,1\nabc,2\nNaN,3\n,4\n")
    with pytest.raises(ff.Invalid, match=r"row 2 has a = 'abc' \(not float64\)"):
        take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"a": float}))
    made = take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"a": float}, checks=[ff.typed()]))
    assert rows(made, places) == [{"a": 1.5, "b": 1}, {"a": None, "b": 3}, {"a": None, "b": 4}]
    assert set_aside(made, places)[0]["reasons"] == ["a is not float64: abc"]


def test_a_schema_may_name_some_columns_only(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("a,b\n1,1\n2,2\n")
    made = take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"a": float}))
    assert dict(made.schema) == {"a": Type.FLOAT64, "b": Type.INT64}
    with pytest.raises(ff.NotFound, match="no column of table:a for schema=: 'c'"):
        take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"c": float}))


def test_a_partition_of_which_nothing_is_left_fails(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("t,x\n1/1/2025 noon,1\n2/1/2025 noon,2\n")
    with pytest.raises(ff.Invalid, match=r"every one of its 2 rows has a value of the wrong type; the first: t is not timestamp: 1/1/2025 noon"):
        take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"t": "timestamp"}, checks=[ff.typed()]))


@pytest.mark.parametrize("body", [b"a,b\n1,\xff\xfe\n", b"a,b\r\n1,2\n3,4\r\n5,6\n7\n", b"a,b\n1,2\n1,2,3,4\n" * 30])
def test_a_file_that_is_no_csv_is_named_with_the_usual_causes(connection, places, tmp_path, body) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_bytes(body)
    try:
        take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"a": int, "b": int}, checks=[]))
    except ff.FivefoldError as e:
        assert "table:a" in str(e)


def test_uniqueness_looks_into_the_partitions_before(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "m1.csv").write_text("id\n1\n2\n")
    (tmp_path / "m2.csv").write_text("id\n2\n3\n")
    with pytest.raises(ff.Invalid, match=r"m2.csv: 1 of its rows break the check 'unique\(id\)': row 1 has id = '2'"):
        take_in(connection, places, tmp_path, ff.Table("t", "m*.csv", checks=[ff.unique("id")]))


@pytest.mark.parametrize(("check", "message"), [
    (ff.not_null("x", at_most=0.2), "33.33% of x is null, at most 20.00%"),
    (ff.not_null("x"), "row 3 has x = None"),
    (ff.between("x", 0, 10), "row 2 has x = '50'"),
    (ff.one_of("s", ["a", "b"]), "row 3 has s = 'c'"),
    (ff.matches("s", "^[ab]$"), "row 3 has s = 'c'"),
    (ff.row_count(at_least=10), "it has 3 rows"),
    (ff.fresh("1h"), "its newest row is of 2026-01-03T00:00:00Z"),
    (ff.check("x > 5 or s = 'b'"), "row 1 has x = '1', s = 'a'"),
])
def test_every_kind_of_check_can_fail_and_names_the_value(connection, places, tmp_path, check, message) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("x,s,t\n1,a,2026-01-01\n50,b,2026-01-02\n,c,2026-01-03\n")
    with pytest.raises(ff.Invalid) as caught:
        take_in(connection, places, tmp_path, ff.Table("a", "a.csv", time="t", checks=[check]))
    assert message in str(caught.value)
    assert not list(places.tables.rglob("*.parquet"))


def test_a_value_beyond_its_scale_is_quarantined(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("x\n1.5\n1e30\ninf\n")
    made = take_in(connection, places, tmp_path, ff.Table("a", "a.csv"), ranges={"x": 1e6})
    assert [r["x"] for r in rows(made, places)] == [1.5]
    assert len(set_aside(made, places)) == 2


@pytest.mark.parametrize(("url", "message"), [
    ("nothing/*.csv", "There is no folder"), ("flihgts.csv", "Did you mean 'flights.csv'")])
def test_a_missing_file_says_what_is_near(connection, places, tmp_path, url, message) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "flights.csv").write_text("x\n1\n")
    with pytest.raises(ff.NotFound, match=message):
        take_in(connection, places, tmp_path, ff.Table("t", url))


def test_a_missing_column_names_what_there_is(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "m1.csv").write_text("x,y\n1,2\n")
    table = ff.Table("t", "m*.csv")
    one = take_in(connection, places, tmp_path, table)
    (tmp_path / "m2.csv").write_text("x,z\n1,2\n")
    with pytest.raises(ff.Invalid, match=r"m2.csv: the column 'y' is missing \(it has: x, z\)"):
        take_in(connection, places, tmp_path, table, before=one)


def test_na_means_null_only_where_it_is_declared(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("country,x\nNA,1\nDE,NA\n")
    assert [r["country"] for r in rows(take_in(connection, places, tmp_path, ff.Table("a", "a.csv")), places)] == ["NA", "DE"]
    declared = rows(take_in(connection, places, tmp_path, ff.Table("b", "a.csv", nulls=("", "NA"))), places)
    assert declared == [{"country": None, "x": 1}, {"country": "DE", "x": None}]


def test_a_nested_column_is_refused_by_name(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    pq.write_table(pa.table({"x": [[1, 2]], "y": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ff.Invalid, match="column 'x' is BIGINT\\[\\], which no feature can be"):
        take_in(connection, places, tmp_path, ff.Table("a", "a.parquet"))


def test_an_empty_file_comes_in_as_no_rows(connection, places, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.csv").write_text("x,y\n")
    made = take_in(connection, places, tmp_path, ff.Table("a", "a.csv", schema={"x": int, "y": str}))
    assert made.rows == 0
    assert pq.read_table(made.files(places.tables)[0]).schema.names == ["x", "y"]
