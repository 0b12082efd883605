"""A source's rows: read whole when they fit, else written once to temporary files parted by entity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from fivefold.core.errors import Invalid
from fivefold.core.types import Type, of_duckdb
from fivefold.features.kernel.arrays import Flags
from fivefold.features.kernel.arrow import one_array
from fivefold.features.kernel.columns import times_and_flags
from fivefold.features.kernel.duplicates import codes_of_ids, first_nearby, no_duplicates, sql_apart
from fivefold.features.kernel.parquet import Wanted, plain_files, read_plain, types_within
from fivefold.features.kernel.plan import Source
from fivefold.features.kernel.relation import (
    Engine,
    as_item,
    canonical,
    count_rows,
    read_within,
    split,
    types_of,
)

KEYS, TIME, SEQ, ID, VALUE = "k", "t", "s", "i", "c"  # the columns of what is read; keys and values are numbered

_WORKING = 4  # the kernel's arrays beside a table, in sizes of the table
_MOST_PARTS = 1024


def counted(source: Source, table: pa.Table) -> Flags | None:
    """Which rows of a table, as `Stored` reads them, are no duplicates; None where that was seen to already."""
    if ID not in table.column_names:
        return None
    time, timed = times_and_flags(one_array(table[TIME]))
    return no_duplicates(one_array(table[ID]), time, timed, source.id_within)


class Stored:
    """How a source's rows are read: the relation is run once (twice when it is small but asked for again and again)."""

    def __init__(self, at: Engine, source: Source, number: int, budget: int, read_again: bool) -> None:
        self.source = source
        self.what = f"source {source.name!r}"
        self._at = at
        self._name = f"source{number}"
        self._budget = max(1, budget // _WORKING)
        self._read_again = read_again
        self._queries: list[str] | None = None
        self._files = plain_files(source.relation)
        self._own = types_within(self._files, self._wanted()) if self._files else None
        if self._own is None:  # the general way, which also has the messages for what is missing or wrong
            self._files = None
            self._query = self._sql()

    def check_types(self, spine: Mapping[str, Type | None]) -> None:
        """Raises Invalid for a key of another type than the spine's key, and for a key or id that is float64."""
        assert self._own is not None
        for mine, theirs in zip(self.source.keys, self.source.spine_keys, strict=True):
            own, asked = self._own[mine], spine[theirs]
            if own is not asked or own is Type.FLOAT64:
                raise Invalid(
                    f"{self.what}: key {mine!r} is {own} and the spine's {theirs!r} is {asked} "
                    "(accepted: the same of int64, string, bool, timestamp).",
                    hint="Cast one of them.",
                )
        if self.source.id is not None and self._own[self.source.id] is Type.FLOAT64:
            raise Invalid(
                f"{self.what}: id {self.source.id!r} is float64 (accepted: int64, string, bool, timestamp).",
                hint="Cast it to BIGINT or VARCHAR.",
            )

    def parts(self) -> Iterator[tuple[pa.Table, int]]:
        """Tables that no two of share an entity, each with how many they are."""
        if self._queries is None:
            table, width = self._whole()
            if table is not None and (self._files or not self._read_again):
                yield table, 1
                return
            self._queries = self._split(table, width)
        for query in self._queries:
            part, _ = read_within(self._at, query, 2**62, self.what)
            if part is not None:
                yield part, len(self._queries)

    def _whole(self) -> tuple[pa.Table | None, float]:
        """All rows, or None when they are above the budget, and then the bytes a row takes."""
        if self._files:
            texts = [key for key in self.source.keys if self._own and self._own[key] is Type.STRING]
            table = read_plain(self._files, self._wanted(), texts, self._budget, self.what)
            if table is not None:
                return table, 0.0
            self._files, self._query = None, self._sql()
        return read_within(self._at, self._query, self._budget, self.what)

    def _split(self, table: pa.Table | None, width: float) -> list[str]:
        parts = 1
        if table is None:
            rows = count_rows(self._at, self.source.relation, self.what)
            parts = min(_MOST_PARTS, int(rows * width // self._budget) + 1)
        keys = [f"{KEYS}{n}" for n in range(len(self.source.keys))]
        query = self._query
        within = self.source.id_within
        if self.source.id is not None and within is not None:
            queries = split(self._at, sql_apart(query, ID, TIME, within), keys, parts, self._name, self.what)
            return self._without_duplicates(queries)
        if self.source.id is not None:
            # duplicates may lie in different parts, so they go before
            query = (
                f"SELECT * EXCLUDE ({ID}, n) FROM (SELECT *, row_number() OVER () AS n FROM ({query})) "
                f"QUALIFY {ID} IS NULL OR row_number() OVER (PARTITION BY {ID} ORDER BY n) = 1"
            )
        return split(self._at, query, keys, parts, self._name, self.what)

    def _without_duplicates(self, queries: list[str]) -> list[str]:
        """The parts that `sql_apart` made, without rows that are duplicates of rows in a stretch beside theirs."""
        near = " UNION ALL ".join(f"SELECT n, {ID}, stretch FROM ({query}) WHERE near" for query in queries)
        left = ""
        if near:
            rows, _ = read_within(self._at, f"SELECT * FROM ({near}) ORDER BY n", 2**62, self.what)
            assert rows is not None
            if rows.num_rows:
                dropped = self._at.folder / f"{self._name}-duplicates.parquet"
                kept = first_nearby(codes_of_ids(one_array(rows[ID])), rows["stretch"].to_numpy())
                pq.write_table(rows.select(["n"]).filter(pa.array(~kept)), dropped)
                left = f" WHERE NOT near OR n NOT IN (SELECT n FROM read_parquet('{dropped}'))"
        return [f"SELECT * EXCLUDE ({ID}, n, stretch, near) FROM ({query}){left}" for query in queries]

    def _wanted(self) -> list[Wanted]:
        source = self.source
        wanted: list[Wanted] = [(key, f"{KEYS}{n}", None) for n, key in enumerate(source.keys)]
        wanted.append((source.time, TIME, Type.TIMESTAMP))
        wanted += [(c, alias, None) for c, alias in ((source.seq, SEQ), (source.id, ID)) if c is not None]
        return wanted + [(c, f"{VALUE}{n}", kind) for n, (c, kind) in enumerate(source.columns)]

    def _sql(self) -> str:
        have = types_of(self._at, self.source.relation, self.what)
        selected = [f"{canonical(c, have, kind, self.what)} AS {alias}" for c, alias, kind in self._wanted()]
        self._own = {name: own for name, duck in have.items() if (own := of_duckdb(duck)) is not None}
        return f"SELECT {', '.join(selected)} FROM {as_item(self.source.relation)}"
