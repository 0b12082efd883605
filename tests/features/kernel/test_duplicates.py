"""Duplicates within stretches of time, against the rule in plain Python, and as SQL."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.features.kernel.duplicates import codes_of_ids, first_nearby, first_within, sql_apart

ROWS = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.one_of(st.none(), st.integers(-20, 20))), max_size=30)


def plainly(rows: list[tuple[str | None, int | None]], within: int) -> list[bool]:
    held: list[tuple[str, int]] = []
    out = []
    for name, time in rows:
        stretch = None if time is None else time // within
        counts = name is None or stretch is None or not any(n == name and abs(s - stretch) <= 1 for n, s in held)
        if counts and name is not None and stretch is not None:
            held.append((name, stretch))
        out.append(counts)
    return out


@settings(deadline=None)
@given(ROWS, st.integers(1, 9))
def test_a_row_counts_unless_one_that_counts_is_near(rows: list[tuple[str | None, int | None]], within: int) -> None:
    ids = pa.array([name for name, _ in rows], pa.string())
    time = np.array([t or 0 for _, t in rows], np.int64)
    timed = np.array([t is not None for _, t in rows], np.bool_)
    assert first_within(ids, time, timed, within).tolist() == plainly(rows, within)


@settings(deadline=None)
@given(ROWS, st.integers(1, 9))
def test_sql_leaves_the_same_to_be_decided(rows: list[tuple[str | None, int | None]], within: int) -> None:
    given = pa.table({"i": pa.array([name for name, _ in rows], pa.string()), "t": pa.array([t for _, t in rows], pa.int64())})
    with duckdb.connect() as connection:
        connection.register("given", given)
        left = connection.sql(f"SELECT * FROM ({sql_apart('SELECT * FROM given', 'i', 't', within)}) ORDER BY n").to_arrow_table()
    near = left.filter(left["near"])
    assert near["stretch"].to_pylist() == [t // within for t in near["t"].to_pylist()]
    kept = set(left.filter(pa.array(np.logical_not(left["near"].to_numpy())))["n"].to_pylist())
    counts = first_nearby(codes_of_ids(near["i"].combine_chunks()), near["stretch"].to_numpy())
    kept |= set(near["n"].filter(pa.array(counts)).to_pylist())
    assert [n + 1 in kept for n in range(len(rows))] == plainly(rows, within)


@pytest.mark.parametrize("times", [[0, 10, 20, 30, 40], [40, 30, 20, 10, 0]])
def test_a_row_that_is_dropped_drops_no_other(times: list[int]) -> None:
    kept = first_within(pa.array(["a"] * 5), np.array(times), np.ones(5, np.bool_), 10)
    assert kept.tolist() == [True, False, True, False, True]
