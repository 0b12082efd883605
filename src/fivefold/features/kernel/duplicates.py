"""Which rows are duplicates by their ids: for ever, or, where events come as a stream, within stretches of time.

For ever, the first row of an id in source order counts. Within stretches, a row is a duplicate when one of the same id
that counts came before it in source order, of the same stretch of time or one beside it; a row that is dropped makes no
other a duplicate. A row without an id is none, and neither is one without a time where times matter.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fivefold.features.kernel.arrays import Flags, Ints
from fivefold.features.kernel.rows import first_of_each


def first_within(ids: pa.Array, time: Ints, timed: Flags, within: int) -> Flags:
    """Which rows are no duplicates within stretches of `within` µs; `timed` says which have a time."""
    codes = codes_of_ids(ids)
    asked = timed & (codes >= 0)
    # ids that occur once, as nearly all do, are done with
    count = np.bincount(codes[asked], minlength=1)
    asked[asked] = count[codes[asked]] > 1
    kept = np.ones(len(codes), np.bool_)
    again = np.flatnonzero(asked)
    kept[again] = first_nearby(codes[again], time[again] // within)
    return kept


def first_nearby(codes: Ints, stretch: Ints) -> Flags:
    """Which rows, in source order, are no duplicates, of their ids (as numbers from 0) and stretches of time."""
    order = np.lexsort((stretch, codes))
    code, at = codes[order], stretch[order]
    new = np.insert((code[1:] != code[:-1]) | (at[1:] != at[:-1]), 0, True)[: len(order)]
    first, code, at = order[new], code[new], at[new]
    beside = (code[1:] == code[:-1]) & (at[1:] - at[:-1] <= 1)
    near = (np.append(beside, False) | np.insert(beside, 0, False))[: len(first)]
    kept = np.zeros(len(codes), np.bool_)
    kept[first] = True
    # of stretches side by side, which rows count depends on those that counted before, one after the other
    rows = np.sort(first[near])
    held: set[tuple[int, int]] = set()
    for row, of, where in zip(rows.tolist(), codes[rows].tolist(), stretch[rows].tolist(), strict=True):
        if (of, where - 1) in held or (of, where + 1) in held:
            kept[row] = False
        else:
            held.add((of, where))
    return kept


def no_duplicates(ids: pa.Array, time: Ints, timed: Flags, within: int | None) -> Flags:
    """Which rows are no duplicates: within stretches of `within` µs, or, where it is None, for ever."""
    return first_of_each(ids) if within is None else first_within(ids, time, timed, within)


def sql_apart(query: str, id: str, time: str, within: int) -> str:
    """The rows of a query without duplicates in their own stretch; more columns are `n`, `stretch` and `near`.

    `n` numbers rows in source order, `near` says which have rows of their id in a stretch beside theirs: those are for
    `first_nearby` to decide on.
    """
    # the quotient is cut towards zero, and is to be rounded down
    stretch = f"{time} // {within} - CAST({time} < 0 AND {time} % {within} <> 0 AS BIGINT)"
    return (
        f"SELECT *, {id} IS NOT NULL AND (coalesce(stretch - lag(stretch) OVER beside <= 1, false)"
        " OR coalesce(lead(stretch) OVER beside - stretch <= 1, false)) AS near "
        f"FROM (SELECT *, {stretch} AS stretch FROM (SELECT *, row_number() OVER () AS n FROM ({query})) "
        f"QUALIFY {id} IS NULL OR {time} IS NULL OR row_number() OVER (PARTITION BY {id}, stretch ORDER BY n) = 1) "
        f"WINDOW beside AS (PARTITION BY {id} ORDER BY stretch)"
    )


def codes_of_ids(ids: pa.Array) -> Ints:
    """Ids as numbers, -1 where there is none."""
    codes: Ints = ids.dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes
