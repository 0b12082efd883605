"""The contract of a TableReader, for whoever writes one.

A test gives each check a `Place`: somewhere tables can be put, and the reader of what was put there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.errors import NotFound, Unavailable
from fivefold.ports.tables import TableReader

ROWS = pa.table(
    {
        "id": pa.array([1, 2, None], pa.int64()),
        "name": pa.array(["a", "é😀", None], pa.string()),
        "value": pa.array([0.5, None, -0.0], pa.float64()),
    }
)
OTHER = pa.table({"id": pa.array([9], pa.int64()), "name": pa.array(["z"]), "value": pa.array([1.0])})


class Place(Protocol):
    """Where a backend keeps tables."""

    marks_changes: bool
    """Whether an unchanged partition keeps its fingerprint without being read."""

    def put(self, rows: pa.Table, part: int = 0) -> None:
        """Put rows there, as the partition of a number, in place of what it held."""
        ...

    def reader(self) -> TableReader:
        """The reader of all partitions put there."""
        ...

    def missing(self) -> TableReader:
        """The reader of something that is not there."""
        ...


def what_was_put_is_read(place: Place, scratch: Path) -> None:
    """Rows come back with their order, nulls and every character."""
    place.put(ROWS)
    (partition,) = place.reader().partitions()
    assert pq.read_table(place.reader().fetch(partition, scratch)).cast(ROWS.schema).equals(ROWS)


def reading_twice_gives_the_same(place: Place, scratch: Path) -> None:
    """Fetching changes nothing, and two fetches do not get in each other's way."""
    place.put(ROWS)
    reader = place.reader()
    (partition,) = reader.partitions()
    first, second = reader.fetch(partition, scratch), reader.fetch(partition, scratch)
    assert pq.read_table(first).equals(pq.read_table(second))


def a_changed_partition_has_another_fingerprint(place: Place, scratch: Path) -> None:
    """Its name stays, so that it replaces what was read of it before."""
    place.put(ROWS)
    (before,) = place.reader().partitions()
    (again,) = place.reader().partitions()
    assert (before == again) is place.marks_changes
    place.put(OTHER)
    (after,) = place.reader().partitions()
    assert after.name == before.name
    assert after.fingerprint != before.fingerprint
    assert pq.read_table(place.reader().fetch(after, scratch)).num_rows == 1


def a_partition_that_is_gone_says_so(place: Place, scratch: Path) -> None:
    """What is not there is NotFound (or its home Unavailable), never an empty table."""
    reader = place.missing()
    try:
        (partition,) = reader.partitions()
        reader.fetch(partition, scratch)
    except (NotFound, Unavailable):
        return
    raise AssertionError("a table that is not there was read")


Check = Callable[[Place, Path], None]
checks: tuple[Check, ...] = (
    what_was_put_is_read,
    reading_twice_gives_the_same,
    a_changed_partition_has_another_fingerprint,
    a_partition_that_is_gone_says_so,
)
