from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fivefold.batch.parts import MOST_FOLDERS, NULL, write_part, write_parts
from fivefold.core.errors import Invalid, Unavailable

ODD = ["a/b", "100%", "größe ü", "", ".", "..", "a=b&c", "x:y z+w", "\\", "'", '"', "\n", "日本", "a\tb", "%2F", "#?*[]",
       "-1", "A", "a", None]


def table(values: list[str | None]) -> pa.Table:
    return pa.table({"i": pa.array(range(len(values)), pa.int64()), "shop": pa.array(values, pa.string())})


def by_duckdb(folder: Path) -> list[tuple[Any, ...]]:
    return duckdb.sql(f"select i, shop from read_parquet('{folder}/**/*.parquet', hive_partitioning = true, "
                      "hive_types = {'shop': varchar}) order by i").fetchall()


def by_arrow(folder: Path) -> list[tuple[Any, ...]]:
    layout = ds.partitioning(pa.schema([("shop", pa.string())]), flavor="hive")
    return [tuple(r.values()) for r in ds.dataset(folder, partitioning=layout).to_table().sort_by("i").to_pylist()]


def test_readers_of_hive_folders_get_every_value_back(tmp_path: Path) -> None:
    write_parts(table(ODD), ["shop"], tmp_path / "t", "part.parquet")
    expected = list(enumerate(ODD))
    assert by_duckdb(tmp_path / "t") == expected
    assert by_arrow(tmp_path / "t") == expected


def test_a_text_that_is_called_like_null_is_not_stored_as_null(tmp_path: Path) -> None:
    files = write_parts(table([NULL, None]), ["shop"], tmp_path, "p.parquet")
    assert len(files) == 2
    assert [t for t in files if t.startswith(f"shop={NULL}/")] == [f"shop={NULL}/p.parquet"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
                                             max_size=12)), min_size=1, max_size=5))
def test_no_value_leaves_its_folder_and_no_row_is_lost(tmp_path_factory: pytest.TempPathFactory,
                                                       values: list[str | None]) -> None:
    folder = tmp_path_factory.mktemp("x") / "t"
    files = write_parts(table(values), ["shop"], folder, "part.parquet")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*.parquet")}
    assert there == set(files)
    assert {name.count("/") for name in there} == {1}
    assert [p.name for p in folder.parent.iterdir()] == ["t"]
    if NULL not in values:
        assert by_arrow(folder) == list(enumerate(values))


def test_numbers_times_and_truths_are_written_as_people_write_them(tmp_path: Path) -> None:
    rows = pa.table({"n": [1, 2], "b": [True, None], "t": pa.array(
        [datetime.datetime(2026, 1, 2, 3, 4, 5), None], pa.timestamp("us")), "v": [0.5, 0.25]})
    files = write_parts(rows, ["n", "b", "t"], tmp_path, "p.parquet")
    assert list(files) == ["n=1/b=true/t=2026-01-02 03:04:05/p.parquet", f"n=2/b={NULL}/t={NULL}/p.parquet"]


def test_equal_rows_are_equal_bytes_and_rows_keep_their_order(tmp_path: Path) -> None:
    rows = table(["b", "a", "b", None, "a"])
    chunked = pa.concat_tables([rows.slice(0, 2), rows.slice(2)])
    assert write_parts(rows, ["shop"], tmp_path / "one", "p") == write_parts(chunked, ["shop"], tmp_path / "two", "p")
    assert by_duckdb_rows(tmp_path / "one" / "shop=b" / "p") == [0, 2]


def by_duckdb_rows(file: Path) -> list[int]:
    return [i for (i,) in duckdb.sql(f"select i from read_parquet('{file}', hive_partitioning = false)").fetchall()]


def test_too_many_folders_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=rf"partition=shop makes more than {MOST_FOLDERS} folders.*day"):
        write_parts(table([str(i) for i in range(MOST_FOLDERS + 1)]), ["shop"], tmp_path, "p")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a file where the folder belongs")
    with pytest.raises(Unavailable, match="cannot write"):
        write_part(table(["a"]), tmp_path / "t" / "p.parquet")
    (tmp_path / "u" / "p.parquet").mkdir(parents=True)
    with pytest.raises(Unavailable):
        write_part(table(["a"]), tmp_path / "u" / "p.parquet")
    assert [p.name for p in (tmp_path / "u").iterdir()] == ["p.parquet"]
