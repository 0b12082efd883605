"""A source's rows: read whole when they fit, else written once to temporary files parted by entity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.kernel.plan import Source
from fivefold.features.kernel.relation import (
    Engine,
    as_item,
    canonical,
    count_rows,
    natural,
    read_within,
    split,
    types_of,
)

KEYS, TIME, SEQ, ID, VALUE = "k", "t", "s", "i", "c"  # the columns of what is read; keys and values are numbered

_WORKING = 4  # the kernel's arrays beside a table, in sizes of the table
_MOST_PARTS = 1024


class Stored:
    """What a source's query reads, and how: the relation is run once (a small relation read again and again: twice)."""

    def __init__(self, at: Engine, source: Source, number: int, budget: int, read_again: bool) -> None:
        self.source = source
        self.what = f"source {source.name!r}"
        self._at = at
        self._name = f"source{number}"
        self._budget = max(1, budget // _WORKING)
        self._read_again = read_again
        self._queries: list[str] | None = None
        self._types = types_of(at, source.relation, self.what)
        self._query = f"SELECT {', '.join(self._selected())} FROM {as_item(source.relation)}"

    def columns(self) -> list[tuple[str, Type]]:
        """The distinct columns the aggregates use; the n-th is read as `c<n>`."""
        return list(dict.fromkeys((a.column, a.type) for a in self.source.aggregates if a.column is not None))

    def check_keys(self, spine: Mapping[str, Type | None]) -> None:
        """Raises Invalid when a key's type differs from that of the spine's key, or is float64."""
        for mine, theirs in zip(self.source.keys, self.source.spine_keys, strict=True):
            own, asked = natural(self._types[mine]), spine[theirs]
            if own is not asked or own is Type.FLOAT64:
                raise Invalid(f"{self.what}: key {mine!r} is {self._types[mine]} and the spine's {theirs!r} is {asked} "
                              "(accepted: the same of int64, string, bool, timestamp).", hint="Cast one of them.")

    def parts(self) -> Iterator[tuple[pa.Table, bool]]:
        """Tables that no two of share an entity, each with whether it is the only one."""
        if self._queries is None:
            table, width = read_within(self._at, self._query, self._budget, self.what)
            if table is not None and not self._read_again:
                yield table, True
                return
            self._queries = self._split(table, width)
        for query in self._queries:
            whole, _ = read_within(self._at, query, 2**62, self.what)
            if whole is not None:
                yield whole, len(self._queries) == 1

    def _split(self, table: pa.Table | None, width: float) -> list[str]:
        parts = 1
        if table is None:
            rows = count_rows(self._at, self.source.relation, self.what)
            parts = min(_MOST_PARTS, int(rows * width // self._budget) + 1)
        keys = [f"{KEYS}{n}" for n in range(len(self.source.keys))]
        query = self._query
        if self.source.id is not None:
            # duplicates may lie in different parts, so they go before
            query = (f"SELECT * EXCLUDE ({ID}, n) FROM (SELECT *, row_number() OVER () AS n FROM ({query})) "
                     f"QUALIFY {ID} IS NULL OR row_number() OVER (PARTITION BY {ID} ORDER BY n) = 1")
        return split(self._at, query, keys, parts, self._name, self.what)

    def _selected(self) -> list[str]:
        source = self.source
        if source.id is not None and natural(self._types.get(source.id, "BIGINT")) is Type.FLOAT64:
            raise Invalid(f"{self.what}: id {source.id!r} is {self._types[source.id]} (accepted: anything but numbers "
                          "with fractions).", hint="Cast it to BIGINT or VARCHAR.")
        named: list[tuple[str, str, Type | None]] = [(key, f"{KEYS}{n}", None) for n, key in enumerate(source.keys)]
        named.append((source.time, TIME, Type.TIMESTAMP))
        named += [(c, alias, None) for c, alias in ((source.seq, SEQ), (source.id, ID)) if c is not None]
        named += [(c, f"{VALUE}{n}", kind) for n, (c, kind) in enumerate(self.columns())]
        return [f"{canonical(c, self._types, kind, self.what)} AS {alias}" for c, alias, kind in named]
