"""The archive of a stream: parts by partition and offset, and the same rows as partitions of its history."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fivefold as ff
from fivefold.core.types import Type
from fivefold.data.archive import (
    ARRIVED,
    OFFSET,
    add_to_archive,
    archive_schema,
    archive_table,
    archived,
    with_archives,
)
from fivefold.data.ingest import Places
from fivefold.data.parts import arrow_schema, write_part
from fivefold.data.snapshots import Part, Snapshot, Stretch, part_file, stretch_of

PAST = ff.Table("past", "past.csv", time="at")
STREAM = ff.Stream("s", schema={"who": str, "x": float}, time="at", history=PAST)
HISTORY = {"at": Type.TIMESTAMP, "note": Type.STRING, "x": Type.FLOAT64, "who": Type.STRING}
Row = dict[str, object]


def events(*offsets: int) -> pa.Table:
    """Events whose columns all follow from their offset."""
    columns = {
        "at": [1000 + o for o in offsets], "who": [None if o % 3 == 0 else f"w{o}" for o in offsets],
        "x": [o / 2 for o in offsets], OFFSET: list(offsets), ARRIVED: [2000 + o for o in offsets],
    }
    return archive_table(STREAM, [columns[c] for c in archive_schema(STREAM)])


def rows(snapshot: Snapshot, part: Part, places: Places) -> list[Row]:
    return list(pq.read_table(part_file(places.tables, snapshot.source, part.digest)).to_pylist())


def offsets(snapshot: Snapshot, places: Places) -> list[list[object]]:
    return [[row[OFFSET] for row in rows(snapshot, part, places)] for part in snapshot.parts]


@pytest.fixture
def history(connection: duckdb.DuckDBPyConnection, places: Places) -> Snapshot:
    """A history of one file."""
    table = pa.table({"at": [5], "note": ["file"], "x": [0.5], "who": ["a"]}).cast(arrow_schema(HISTORY))
    made, count, size = write_part(table.to_reader(), HISTORY, places.tables, "past")
    return Snapshot("past", HISTORY, (Part("one.csv", "one", made, count, size),))


def test_an_archive_has_the_streams_columns_then_offset_and_arrival() -> None:
    assert list(archive_schema(STREAM)) == ["at", "who", "x", OFFSET, ARRIVED]
    table = events(3, 4)
    assert table.schema == arrow_schema(archive_schema(STREAM))
    assert table["at"].cast(pa.int64()).to_pylist() == [1003, 1004]
    assert table[ARRIVED].cast(pa.int64()).to_pylist() == [2003, 2004]
    assert table["who"].to_pylist() == [None, "w4"]
    assert events().num_rows == 0


def test_each_partition_gets_a_part_that_says_which_offsets_it_holds(
    connection: duckdb.DuckDBPyConnection, places: Places
) -> None:
    assert archived(None, "s") == {}
    one = add_to_archive(connection, STREAM, None, {1: (Stretch("s", 1, 0, 9), events(2, 7)),
                                                    0: (Stretch("s", 0, 0, 4), events(4))}, places)
    assert [stretch_of(p) for p in one.parts] == [Stretch("s", 0, 0, 4), Stretch("s", 1, 0, 9)]
    assert offsets(one, places) == [[4], [2, 7]]
    # up to the offset that was read, also where the last records were no events to apply
    assert archived(one, "s") == {0: 4, 1: 9}
    assert archived(one, "other") == {}
    two = add_to_archive(connection, STREAM, one, {1: (Stretch("s", 1, 10, 12), events(11))}, places)
    assert two.parts[:2] == one.parts
    assert archived(two, "s") == {0: 4, 1: 12}
    assert offsets(two, places) == [[4], [2, 7], [11]]


def test_a_history_holds_its_files_first_then_what_its_streams_brought(
    connection: duckdb.DuckDBPyConnection, places: Places, history: Snapshot
) -> None:
    archive = add_to_archive(connection, STREAM, None, {0: (Stretch("s", 0, 0, 4), events(3, 4))}, places)
    made = with_archives(connection, history, [archive], None, places)
    assert made.parts[0] == history.parts[0]
    assert (made.source, made.schema, made.rows) == ("past", HISTORY, 3)
    assert archived(made, "s") == {0: 4}
    found = rows(made, made.parts[1], places)
    # the columns of the history, in its order: null for what the stream does not carry
    assert [list(row) for row in found] == [["at", "note", "x", "who"]] * 2
    assert [(row["note"], row["x"], row["who"]) for row in found] == [(None, 1.5, None), (None, 2.0, "w4")]
    # without its archive again, as when the stream is another's
    assert with_archives(connection, made, [], made, places).parts == history.parts


def test_what_is_in_a_history_is_not_written_again_and_is_when_it_is_gone(
    connection: duckdb.DuckDBPyConnection, places: Places, history: Snapshot
) -> None:
    archive = add_to_archive(connection, STREAM, None, {0: (Stretch("s", 0, 0, 4), events(3, 4))}, places)
    one = with_archives(connection, history, [archive], None, places)
    file = part_file(places.tables, "past", one.parts[1].digest)
    written = file.stat().st_mtime_ns
    more = add_to_archive(connection, STREAM, archive, {0: (Stretch("s", 0, 5, 5), events(5))}, places)
    two = with_archives(connection, history, [more], one, places)
    assert two.parts[:2] == one.parts
    assert archived(two, "s") == {0: 5}
    assert file.stat().st_mtime_ns == written
    file.unlink()
    assert with_archives(connection, history, [more], two, places) == two
    assert rows(two, two.parts[1], places)[1]["who"] == "w4"


def test_a_history_of_other_columns_is_written_of_the_archive_again(
    connection: duckdb.DuckDBPyConnection, places: Places, history: Snapshot
) -> None:
    archive = add_to_archive(connection, STREAM, None, {0: (Stretch("s", 0, 0, 4), events(3))}, places)
    one = with_archives(connection, history, [archive], None, places)
    schema = {c: k for c, k in HISTORY.items() if c != "note"}
    two = with_archives(connection, Snapshot("past", schema, history.parts), [archive], one, places)
    assert two.parts[1].fingerprint != one.parts[1].fingerprint
    assert list(rows(two, two.parts[1], places)[0]) == ["at", "x", "who"]
