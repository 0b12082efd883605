"""Every rule of the as-of join on tables small enough to check by eye."""

from __future__ import annotations

import struct
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from fivefold.core.types import Type
from fivefold.features.asof import Aggregate, Source, as_of

INT, FLOAT, BOOL, TEXT, MOMENT = Type.INT64, Type.FLOAT64, Type.BOOL, Type.STRING, Type.TIMESTAMP


def ask(
    rows: dict[str, list[Any]], at: list[int | None], *features: Aggregate, keys: list[Any] | None = None, **plan: Any
) -> list[Any]:
    """The values of the only feature (or tuples of all) for entity 1 (or `keys`) at the times `at`."""
    table = pa.table({"k": [1] * len(rows["t"])} | rows)
    asked = pa.array(keys or [1] * len(at), table.schema.field("k").type)
    spine = pa.table({"k": asked, "at": pa.array(at, pa.int64())})
    source = Source("v", "rows", ("k",), ("k",), "t", aggregates=features, **plan)
    with duckdb.connect() as connection:
        connection.register("rows", table)
        found = as_of(spine, "at", [source], connection=connection)
    columns = [found.column(f.name).to_pylist() for f in features]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def of(fn: str, column: str | None = "x", kind: Type = INT, **more: Any) -> Aggregate:
    return Aggregate(f"{fn}_{column}", fn, column, kind, **more)


TEN = {"t": list(range(10)), "x": list(range(10))}


def test_a_row_at_the_query_time_is_not_seen_one_before_is() -> None:
    assert ask(TEN, [0, 1, 5, 99], of("last")) == [None, 0, 4, 9]


def test_an_exact_window_holds_its_left_edge() -> None:
    assert ask(TEN, [5], of("count", None, over=3)) == [3]  # 2, 3, 4
    assert ask(TEN, [5], of("first", over=3)) == [2]


def test_a_hop_rounds_the_left_edge_down_towards_the_past() -> None:
    assert ask(TEN, [8], of("first", over=3, hop=4)) == [4]  # 8-3=5 goes down to 4
    before = {"t": [-5, -4, -3], "x": [1, 2, 3]}
    assert ask(before, [0], of("first", over=3, hop=4)) == [2]  # 0-3=-3 goes down to -4


def test_a_delay_hides_recent_rows_and_never_moves_the_left_edge() -> None:
    # at 8, rows with t + 2 < 8 have arrived: up to 5; the window still begins at 4
    assert ask(TEN, [8], of("first", over=4), of("last", over=4), delay=2) == [(4, 5)]
    assert ask(TEN, [8], of("count", None, over=2), delay=2) == [0]


def test_ago_moves_the_whole_window() -> None:
    assert ask(TEN, [9], of("first", over=3, ago=2), of("last", over=3, ago=2)) == [(4, 6)]


def test_over_on_last_is_how_long_a_value_lives() -> None:
    assert ask({"t": [0], "x": [7]}, [1, 5, 6], of("last", over=5)) == [7, 7, None]


def test_among_rows_of_equal_time_the_greatest_value_is_last_and_the_least_is_first() -> None:
    rows = {"t": [1, 1, 1], "x": [5, 9, 2]}
    assert ask(rows, [2], of("last"), of("first")) == [(9, 2)]
    assert ask({"t": [1, 1], "x": [True, False]}, [2], of("last", kind=BOOL)) == [True]
    # by UTF-8 bytes: U+10000 and beyond come after U+FFFF, and capitals before small letters
    assert ask({"t": [1, 1, 1], "x": ["\uffee", "𝄞", "z"]}, [2], of("last", kind=TEXT)) == ["𝄞"]
    assert ask({"t": [1, 1, 1], "x": ["b", "B", "a"]}, [2], of("first", kind=TEXT)) == ["B"]


def test_seq_decides_before_the_value_does_and_a_null_seq_is_lowest() -> None:
    rows = {"t": [1, 1, 1], "x": [5, 9, 2], "s": [0, None, -1]}
    assert ask(rows, [2], of("last"), of("first"), seq="s") == [(5, 9)]
    assert ask({"t": [1, 1], "x": [5, 9], "s": [0, None]}, [2], of("last"), seq="s") == [5]


def test_a_null_value_is_lowest_among_ties_but_the_latest_row_may_be_null() -> None:
    assert ask({"t": [1, 1], "x": [None, -5]}, [2], of("last")) == [-5]
    assert ask({"t": [1, 2], "x": [4, None]}, [3], of("last")) == [None]
    assert ask({"t": [1, 1], "x": [None, -5]}, [2], of("first")) == [None]


def test_of_duplicates_the_first_in_source_order_stays_and_null_ids_are_no_duplicates() -> None:
    rows = {"t": [5, 1, 2, 3], "x": [1, 2, 4, 8], "i": pa.array([7, 7, None, None])}
    assert ask(rows, [9], of("sum"), id="i") == [13]
    # the first of id 7 has no time, so it is never seen; its duplicate is gone all the same
    assert ask({"t": [None, 1], "x": [1, 2], "i": [7, 7]}, [9], of("sum"), id="i") == [None]


def test_rows_without_time_or_key_are_never_seen() -> None:
    assert ask({"t": [None, 1], "x": [1, 2]}, [9], of("sum")) == [2]
    assert ask({"k": [None, 1], "t": [1, 1], "x": [1, 2]}, [9, 9], of("sum"), keys=[1, None]) == [2, None]


def test_a_query_without_time_or_key_or_known_entity_has_empty_windows() -> None:
    found = ask(TEN, [None, 9, 9], of("count", None), of("sum"), of("last"), of("distinct"), keys=[1, None, 2])
    assert found == [(0, None, None, 0)] * 3


def test_nothing_gives_zero_counts_and_null_otherwise() -> None:
    features = [
        of("count", None),
        of("count"),
        of("distinct"),
        of("sum"),
        of("mean"),
        of("std"),
        of("min"),
        of("max"),
        of("first"),
        of("last"),
        of("quantile", q=0.5),
        of("top", k=1),
    ]
    assert ask({"t": [1], "x": pa.array([None], pa.int64())}, [2], *features) == [(1, 0, 0) + (None,) * 9]


def test_a_deviation_needs_two_values() -> None:
    assert ask({"t": [1, 2, 3], "x": [1, None, 3]}, [2, 3, 4], of("std")) == [None, None, 2.0**0.5]


def test_nan_is_null_and_minus_zero_is_zero() -> None:
    rows = {"t": [1, 2], "x": [-0.0, float("nan")]}
    assert ask(rows, [2, 3], of("last", kind=FLOAT), of("count", kind=FLOAT)) == [(0.0, 1), (None, 1)]
    for fn in ("last", "first", "min", "max"):
        for beside in (1.0, float("nan")):
            [zero] = ask({"t": [1, 2], "x": [-0.0, beside]}, [2], of(fn, kind=FLOAT))
            assert struct.pack("<d", zero) == bytes(8)
    assert ask({"t": [1, 2], "x": [-0.0, 0.0]}, [3], of("distinct", kind=FLOAT)) == [1]


def test_infinity_is_a_value_where_nothing_is_added() -> None:
    rows = {"t": [1, 2, 3], "x": [1.0, float("inf"), float("-inf")]}
    found = ask(
        rows,
        [4],
        of("min", kind=FLOAT),
        of("max", kind=FLOAT),
        of("last", kind=FLOAT),
        of("distinct", kind=FLOAT),
        of("quantile", kind=FLOAT, q=1.0),
        of("top", kind=FLOAT, k=1),
    )
    assert found == [(float("-inf"), float("inf"), float("-inf"), 3, float("inf"), float("-inf"))]


def test_sums_are_of_fixed_point_integers_so_no_order_matters() -> None:
    values = [0.1, 1e6, -1e6, 0.2]
    step = 2.0**-20
    wanted = sum(round(v / step) for v in values) * step
    for order in ([0, 1, 2, 3], [1, 0, 3, 2], [3, 2, 1, 0]):
        rows = {"t": [1, 1, 1, 1], "x": [values[i] for i in order]}
        assert ask(rows, [2], of("sum", kind=FLOAT, scale=20)) == [wanted]
    assert ask({"t": [1, 2], "x": [0.5, 1.5]}, [2, 3], of("sum", kind=FLOAT, scale=0)) == [0.0, 2.0]  # ties to even


def test_booleans_are_added_as_zero_and_one() -> None:
    rows = {"t": [1, 2, 3], "x": [True, False, True]}
    assert ask(rows, [4], of("sum", kind=BOOL), of("mean", kind=BOOL), of("max", kind=BOOL)) == [(2, 2 / 3, True)]


def test_texts_and_moments_have_a_least_and_a_greatest() -> None:
    assert ask({"t": [1, 2], "x": ["b", "a"]}, [3], of("min", kind=TEXT), of("max", kind=TEXT)) == [("a", "b")]
    [latest] = ask({"t": [1, 2], "x": pa.array([9, 4], pa.timestamp("us"))}, [3], of("max", kind=MOMENT))
    assert (latest.microsecond, str(latest.tzinfo)) == (9, "UTC")


@pytest.mark.parametrize(("q", "rank"), [(0.0, 0), (0.5, 2), (0.74, 2), (0.75, 3), (1.0, 4)])
def test_a_quantile_is_the_middle_of_a_bucket_within_one_percent(q: float, rank: int) -> None:
    values = [-250.0, -3.0, 0.0, 17.0, 1e9]
    [found] = ask({"t": [1, 2, 3, 4, 5], "x": values[::-1]}, [9], of("quantile", kind=FLOAT, q=q))
    assert abs(found - values[rank]) <= abs(values[rank]) / 128


def top(k: int, kind: Type = INT, **more: Any) -> Aggregate:
    return Aggregate(f"top{k}", "top", "x", kind, k=k, **more)


def test_the_most_frequent_value_is_first_and_null_is_none() -> None:
    rows = {"t": [1, 2, 3, 4, 5, 6], "x": [9, None, 4, None, 9, None]}
    assert ask(rows, [1, 2, 4, 9], top(1), top(2)) == [(None, None), (9, None), (4, 9), (9, 4)]


def test_of_equally_frequent_values_the_least_comes_first() -> None:
    t = [1, 2, 3]
    assert ask({"t": t, "x": [5, -7, 2]}, [9], top(1), top(2), top(3), top(4)) == [(-7, 2, 5, None)]
    assert ask({"t": t, "x": [float("inf"), -0.0, 1e-320]}, [9], top(1, FLOAT), top(3, FLOAT)) == [(0.0, float("inf"))]
    assert ask({"t": t[:2], "x": [True, False]}, [9], top(1, BOOL), top(2, BOOL), top(3, BOOL)) == [(False, True, None)]
    # by UTF-8 bytes, as everywhere
    assert ask({"t": t, "x": ["\uffee", "𝄞", "Z"]}, [9], top(1, TEXT), top(2, TEXT), top(3, TEXT)) == [
        ("Z", "\uffee", "𝄞")
    ]
    moments = pa.array([8, 3], pa.timestamp("us"))
    assert ask({"t": t[:2], "x": moments}, [9], top(1, MOMENT))[0].microsecond == 3  # type: ignore[dict-item]


def test_both_zeros_are_one_frequent_value() -> None:
    [zero] = ask({"t": [1, 2, 3, 4, 5], "x": [-0.0, 1.5, 0.0, 1.5, -0.0]}, [9], top(1, FLOAT))
    assert struct.pack("<d", zero) == bytes(8)


def test_values_that_leave_the_window_no_longer_count() -> None:
    rows = {"t": [1, 2, 3, 4, 5], "x": ["a", "a", "b", "c", "c"]}
    assert ask(rows, [3, 4, 5, 6, 9], top(1, TEXT, over=3), top(2, TEXT, over=3)) == [
        ("a", None),
        ("a", "b"),
        ("a", "b"),
        ("c", "b"),
        (None, None),
    ]


def test_what_is_frequent_at_one_entity_is_not_at_another() -> None:
    rows = {"k": [1, 1, 1, 2, 3], "t": [1, 2, 3, 2, 9], "x": [7, 7, 8, 8, 7]}
    assert ask(rows, [9, 9, 9, 2], top(1), top(2), keys=[1, 2, 3, 1]) == [(7, 8), (8, None), (None, None), (7, None)]


def test_the_newest_time_seen_is_told_even_where_the_value_is_null() -> None:
    spine = pa.table({"k": [1, 1], "at": [1, 5]})
    with duckdb.connect() as connection:
        connection.register("rows", pa.table({"k": [1, 1], "t": [1, 3], "x": [4, None]}))
        plan = Source("v", "rows", ("k",), ("k",), "t", aggregates=(of("last"),))
        found = as_of(spine, "at", [plan], connection=connection, event_times=True)
    assert found.column("last_x__time").cast(pa.int64()).to_pylist() == [None, 3]
    assert found.column("last_x").to_pylist() == [None, None]


def test_tied_rows_without_any_text_have_a_null_as_first_and_last() -> None:
    nothing: dict[str, list[Any]] = {"t": [1, 1, 1], "x": pa.array([None, None, None], pa.string())}  # type: ignore[dict-item]
    assert ask(nothing, [5], of("last", kind=TEXT), of("first", kind=TEXT)) == [(None, None)]
