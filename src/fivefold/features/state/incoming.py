"""Rows as they are read (see kernel.sources) made ready for the states: who they are of, and their records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from fivefold.features.kernel.arrays import Codes, Flags, Ints
from fivefold.features.kernel.arrow import one_array
from fivefold.features.kernel.columns import column, kind_of, times_and_flags
from fivefold.features.kernel.keys import entities
from fivefold.features.kernel.rows import check_times
from fivefold.features.kernel.sources import KEYS, SEQ, TIME, VALUE
from fivefold.features.state.key import View
from fivefold.features.state.layout import Rows


class Incoming(NamedTuple):
    """Rows, and for each which of the distinct `keys` it is of."""

    keys: list[bytes]
    entity: Ints
    rows: Rows


def incoming(
    view: View, table: pa.Table, key_bytes: Callable[[Sequence[object]], bytes | None], kept: Flags | None = None
) -> Incoming:
    """The rows of a table in canonical form that have a time and a key; only the `kept` ones."""

    def read(name: str) -> pa.Array:
        return one_array(table.column(name))

    columns = [read(f"{KEYS}{n}") for n in range(len(view.source.keys))]
    codes = entities(columns).codes
    time, seen = times_and_flags(read(TIME))
    seen &= codes >= 0
    if kept is not None:
        seen &= kept
    at = np.flatnonzero(seen)
    check_times(time[at], f"source {view.source.name!r}")
    first, entity = _numbered(codes[at])
    values = [c.take(pa.array(at[first])).to_pylist() for c in columns]
    keys = [key_bytes(key) for key in zip(*values, strict=True)]
    seq = column(read(SEQ), kind_of(read(SEQ))).take(at) if view.layout.seq is not None else None
    made = [column(read(f"{VALUE}{n}"), kind).take(at) for n, (_, kind) in enumerate(view.layout.columns)]
    return Incoming([k for k in keys if k is not None], entity, view.layout.made(time[at], seq, made))


def _numbered(codes: Codes) -> tuple[Ints, Ints]:
    """Where each code first appears, and for each code which of these it is; without sorting, for codes are small."""
    count = int(codes.max(initial=-1)) + 1
    first = np.full(count, -1, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    there = first >= 0
    return first[there], (np.cumsum(there) - 1)[codes]
