"""The as-of join against the oracle, bit for bit, on generated data."""

from __future__ import annotations

import random
import struct
from collections import Counter
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fivefold.core.errors import Conflict, Invalid, NotFound
from fivefold.core.types import Type
from fivefold.features.asof import Aggregate, Source, as_of, as_of_batches
from fivefold.features.kernel.plan import ACCEPTS, FIXED_POINT

Row = dict[str, Any]
COLUMNS = {"x": Type.FLOAT64, "n": Type.INT64, "b": Type.BOOL, "w": Type.STRING, "m": Type.TIMESTAMP}
ARROW = {
    "k": pa.int64(),
    "g": pa.string(),
    "t": pa.int64(),
    "s": pa.int64(),
    "id": pa.int64(),
    "x": pa.float64(),
    "n": pa.int64(),
    "b": pa.bool_(),
    "w": pa.string(),
    "m": pa.int64(),
}

# small ranges: ties, duplicates, nulls and rows exactly on window edges are the rule, not the exception
ROW = st.fixed_dictionaries(
    {
        "k": st.sampled_from([1, 1, 2, None]),
        "g": st.sampled_from(["a", "b", None]),
        "t": st.one_of(st.none(), st.integers(-12, 25)),
        "s": st.sampled_from([None, -1, 0, 1]),
        "id": st.one_of(st.none(), st.integers(0, 12), st.integers(0, 1)),
        "x": st.one_of(
            st.none(),
            st.just(-0.0),
            st.just(float("nan")),
            st.sampled_from([0.1, 1.0, 1.01, -3.3, 1e-320]),
            st.floats(-1e6, 1e6),
        ),
        "n": st.one_of(st.none(), st.integers(-(2**40) + 1, 2**40 - 1), st.integers(-2, 2)),
        "b": st.sampled_from([None, False, True]),
        "w": st.sampled_from([None, "", "a", "é", "z", "𝄞", "\uffee"]),
        "m": st.one_of(st.none(), st.integers(-5, 5)),
    }
)
QUERY = st.fixed_dictionaries(
    {
        "k": st.sampled_from([1, 2, 3, None]),
        "g": st.sampled_from(["a", "b", None]),
        "at": st.one_of(st.none(), st.integers(-15, 30)),
    }
)


@st.composite
def aggregates(draw: st.DrawFn) -> tuple[Aggregate, ...]:
    out = []
    for number in range(draw(st.integers(1, 6))):
        fn = draw(st.sampled_from(sorted(ACCEPTS)))
        arithmetic = fn in ("sum", "mean", "std", "quantile")
        columns = ["x", "n", "b"] if arithmetic else [*COLUMNS, None] if fn == "count" else [*COLUMNS]
        column = draw(st.sampled_from(columns))
        kind = COLUMNS[column] if column else Type.INT64
        over = draw(st.one_of(st.none(), st.integers(1, 15)))
        out.append(
            Aggregate(
                f"f{number}",
                fn,
                column,
                kind,
                over=over,
                hop=draw(st.sampled_from([None, 1, 3, 7])) if over else None,
                ago=draw(st.sampled_from([0, 0, 1, 5])),
                q=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])) if fn == "quantile" else None,
                scale=draw(st.integers(-3, 18)) if fn in FIXED_POINT and kind is Type.FLOAT64 else None,
                k=draw(st.sampled_from([1, 1, 2, 3, 7])) if fn == "top" else None,
            )
        )
    return tuple(out)


@st.composite
def sources(draw: st.DrawFn, name: str = "v") -> Source:
    keys = draw(st.sampled_from([("k",), ("g", "k"), ("g",)]))
    return Source(
        name,
        "rows",
        keys,
        keys,
        "t",
        seq=draw(st.sampled_from([None, "s"])),
        id=draw(st.sampled_from([None, "id", "id"])),
        id_within=draw(st.sampled_from([None, 1, 2, 5])),
        delay=draw(st.sampled_from([0, 0, 1, 4])),
        aggregates=draw(aggregates()),
    )


def table(rows: list[Row], columns: list[str]) -> pa.Table:
    return pa.table({c: pa.array([r[c] for r in rows], ARROW.get(c, pa.int64())) for c in columns})


def exact(values: list[Any]) -> list[Any]:
    return [struct.pack("<d", v) if isinstance(v, float) else v for v in values]


def run(source: Source, rows: list[Row], spine: list[Row], **options: Any) -> dict[str, list[Any]]:
    with duckdb.connect() as connection:
        connection.register("rows", table(rows, list(ARROW)))
        asked = table(spine, ["k", "g", "at"])
        found = as_of(asked, "at", [source], connection=connection, event_times=True, **options)
    assert found.select(asked.column_names).equals(asked)
    out = {}
    for name in found.column_names[3:]:
        column = found.column(name)
        out[name] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return out


@settings(max_examples=40, deadline=None)
@given(sources(), st.lists(ROW, min_size=10, max_size=40), st.lists(QUERY, min_size=3, max_size=12))
def test_times_too_far_apart_for_one_number_line_change_nothing(
    source: Source, rows: list[Row], spine: list[Row]
) -> None:
    far = 2**56

    def stretched(micros: int | None) -> int | None:
        return None if micros is None else micros * far

    def same(micros: int | None) -> int | None:
        return None if micros is None else micros // far

    plan = replace(
        source,
        delay=source.delay * far,
        id_within=stretched(source.id_within),
        aggregates=tuple(
            replace(a, over=stretched(a.over), hop=stretched(a.hop), ago=a.ago * far) for a in source.aggregates
        ),
    )
    far_rows = [r | {"t": stretched(r["t"])} for r in rows]
    far_spine = [q | {"at": stretched(q["at"])} for q in spine]
    found = run(plan, far_rows, far_spine)
    near = run(source, rows, spine)
    assert {n: exact(v if not n.endswith("time") else [same(m) for m in v]) for n, v in found.items()} == {
        n: exact(v) for n, v in near.items()
    }


@settings(max_examples=250, deadline=None)
@given(sources(), st.lists(ROW, max_size=40), st.lists(QUERY, max_size=12))
def test_every_value_is_the_oracles_to_the_bit(
    oracle: SimpleNamespace, source: Source, rows: list[Row], spine: list[Row]
) -> None:
    wanted = oracle.as_of(spine, "at", [(source, rows)])
    found = run(source, rows, spine)
    assert {n: exact(v) for n, v in found.items()} == {n: exact(v) for n, v in wanted.items()}


@settings(max_examples=60, deadline=None)
@given(
    sources(),
    st.lists(ROW, min_size=5, max_size=40),
    st.lists(QUERY, min_size=1, max_size=12),
    st.sampled_from([1, 300, 2500]),
    st.randoms(use_true_random=False),
)
def test_memory_threads_and_the_order_of_rows_change_no_bit(
    source: Source, rows: list[Row], spine: list[Row], memory: int, chance: random.Random
) -> None:
    whole = run(source, rows, spine)
    assert {n: exact(v) for n, v in run(source, rows, spine, memory=memory, threads=2).items()} == {
        n: exact(v) for n, v in whole.items()
    }
    if source.id is None:
        chance.shuffle(rows)
        assert {n: exact(v) for n, v in run(source, rows, spine).items()} == {n: exact(v) for n, v in whole.items()}


def windows(relation: str, name: str = "v") -> Source:
    return Source(
        name,
        relation,
        ("k",),
        ("k",),
        "t",
        id="i",
        delay=2,
        aggregates=(
            Aggregate(f"{name}_last", "last", "w", Type.STRING),
            Aggregate(f"{name}_n", "count", None, Type.INT64, over=50_000),
            Aggregate(f"{name}_std", "std", "x", Type.FLOAT64, over=90_000, scale=12),
            Aggregate(f"{name}_median", "quantile", "x", Type.FLOAT64, over=90_000, hop=1000, q=0.5),
            Aggregate(f"{name}_words", "distinct", "w", Type.STRING),
            Aggregate(f"{name}_word", "top", "w", Type.STRING, over=90_000, k=2),
        ),
    )


@pytest.fixture
def large(tmp_path: Any) -> tuple[str, str]:
    """A relation of 30,000 rows in four files, a tenth of them duplicates by id, and a spine of 5,000."""
    chance = random.Random(7)
    for part in range(4):
        pq.write_table(
            pa.table(
                {
                    "k": [chance.randrange(40) for _ in range(7500)],
                    "t": [chance.randrange(200_000) for _ in range(7500)],
                    "i": [chance.randrange(80_000) for _ in range(7500)],
                    "x": [chance.gauss(0, 50) for _ in range(7500)],
                    "w": [f"word {chance.randrange(900)}" for _ in range(7500)],
                }
            ),
            tmp_path / f"rows{part}.parquet",
        )
    pq.write_table(
        pa.table(
            {
                "row": range(5000),
                "k": [chance.randrange(45) for _ in range(5000)],
                "at": [chance.randrange(220_000) for _ in range(5000)],
            }
        ),
        tmp_path / "spine.parquet",
    )
    return f"read_parquet('{tmp_path}/rows*.parquet')", f"SELECT * FROM read_parquet('{tmp_path}/spine.parquet')"


def test_a_join_that_does_not_fit_in_memory_equals_one_that_does(large: tuple[str, str]) -> None:
    rows, spine = large
    plans = [replace(windows(rows), id_within=20_000), windows(rows, "u")]
    whole = as_of(spine, "at", plans)
    steps: list[tuple[str, int, int]] = []
    small = as_of(
        spine,
        "at",
        plans,
        memory=500_000,
        threads=2,
        progress=lambda *step: steps.append(step),
    )
    assert small.equals(whole)
    assert len(steps) > 2  # the spine was chunked
    assert steps[-1][1:] == (len(steps), len(steps))
    assert whole.column("row").to_pylist() == list(range(5000))


def test_plain_files_are_read_as_duckdb_reads_them(tmp_path: Any) -> None:
    chance = random.Random(3)
    some = {
        "k": ["a", "b", None],
        "x": [1.5, None, -0.0, float("nan")],
        "n": [7, None, 2**31 - 1],
        "b": [True, None],
        "w": ["x", "é", None],
        "m": [None, -1, 10**15],
        "i": [None, *range(300)],
        "s": [None, 1, 2],
    }
    kinds = {
        "k": pa.string(),
        "x": pa.float32(),
        "n": pa.int32(),
        "b": pa.bool_(),
        "w": pa.string(),
        "m": pa.timestamp("ns"),
        "i": pa.uint16(),
        "s": pa.int8(),
    }
    for part in range(3):
        columns = {c: pa.array([chance.choice(some[c]) for _ in range(200)], kinds[c]) for c in kinds}
        moments = pa.array([chance.randrange(-5000, 50_000) for _ in range(200)], pa.timestamp("ns"))
        pq.write_table(pa.table(columns | {"t": moments}), tmp_path / f"{part}.parquet", row_group_size=70)
    pq.write_table(
        pa.table({"k": ["a", "b", "c", None] * 20, "at": pa.array(range(80), pa.timestamp("us", "UTC"))}),
        tmp_path / "spine.parquet",
        row_group_size=30,
    )
    plan = Source(
        "v",
        f"read_parquet(['{tmp_path}/0.parquet', '{tmp_path}/1.parquet', '{tmp_path}/2.parquet'])",
        ("k",),
        ("k",),
        "t",
        seq="s",
        id="i",
        aggregates=tuple(
            Aggregate(f"{fn}_{c}", fn, c, kind)
            for fn in ("first", "last", "distinct", "max")
            for c, kind in COLUMNS.items()
        ),
    )
    sql = replace(plan, relation=f"{plan.relation} WHERE true")
    found = as_of(f"read_parquet('{tmp_path}/spine.parquet')", "at", [plan], event_times=True)
    assert found.equals(
        as_of(f"SELECT * FROM '{tmp_path}/spine.parquet'", "at", [sql], event_times=True).cast(found.schema)
    )
    assert found.equals(as_of(f"read_parquet('{tmp_path}/spine.parquet')", "at", [plan], event_times=True, memory=9000))
    assert found.column("last_w").null_count < 60


def test_batches_put_together_are_the_table(large: tuple[str, str]) -> None:
    rows, spine = large
    batches = list(as_of_batches(spine, "at", [windows(rows)], memory=1_000_000))
    assert len(batches) > 1
    assert pa.Table.from_batches(batches).equals(as_of(spine, "at", [windows(rows)]))


def test_a_large_distinct_count_is_the_estimate_of_the_set(oracle: SimpleNamespace) -> None:
    rows = pa.table({"k": [0] * 12_000, "t": range(12_000), "n": [(i * 7919) % 9000 for i in range(12_000)]})
    rows = rows.append_column("w", pa.array([f"é{v}" for v in rows.column("n").to_pylist()]))
    asked = [100, 4097, 4098, 6000, 12_000]
    spine = pa.table({"k": [0] * len(asked), "at": asked})
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = as_of(
            spine,
            "at",
            [
                Source(
                    "v",
                    "rows",
                    ("k",),
                    ("k",),
                    "t",
                    aggregates=(
                        Aggregate("n", "distinct", "n", Type.INT64),
                        Aggregate("w", "distinct", "w", Type.STRING),
                        Aggregate("recent", "distinct", "n", Type.INT64, over=5000),
                    ),
                )
            ],
            connection=connection,
        )
    for name, column, over in (("n", "n", None), ("w", "w", None), ("recent", "n", 5000)):
        values = rows.column(column).to_pylist()
        sets = [set(values[max(0, at - (over or at)) : at]) for at in asked]
        assert found.column(name).to_pylist() == [
            len(s) if len(s) <= 4096 else max(4097, oracle.estimate(s)) for s in sets
        ]
        assert all(abs(v / len(s) - 1) < 0.05 for v, s in zip(found.column(name).to_pylist(), sets, strict=True))


@pytest.mark.parametrize("column", ["x", "w"])
def test_frequent_values_of_many_entities_are_counted_row_by_row(column: str) -> None:
    chance = random.Random(11)
    some = {"x": [-1.5, 0.0, 2.0, float("inf"), None], "w": ["b", "a", "é", "", None]}[column]
    rows = [(chance.randrange(6), chance.randrange(900), chance.choice(some)) for _ in range(4000)]
    asked = [(chance.randrange(7), chance.randrange(1000)) for _ in range(1500)]
    plan = Source(
        "v",
        "rows",
        ("k",),
        ("k",),
        "t",
        delay=3,
        aggregates=tuple(
            Aggregate(f"{k}_{over}", "top", column, COLUMNS[column], over=over, hop=hop, k=k)
            for k in (1, 2, 4)
            for over, hop in ((20, None), (300, 50), (None, None))
        ),
    )
    k, t, values = zip(*rows, strict=True)
    with duckdb.connect() as connection:
        connection.register("rows", pa.table({"k": k, "t": t, column: pa.array(values, ARROW[column])}))
        spine = pa.table({"k": [q[0] for q in asked], "at": [q[1] for q in asked]})
        found = as_of(spine, "at", [plan], connection=connection)
    for a in plan.aggregates:
        wanted = []
        for who, at in asked:
            left = -1 if a.over is None else (at - a.over) // (a.hop or 1) * (a.hop or 1)
            seen = Counter(v for e, m, v in rows if e == who and left <= m < at - 3 and v is not None)
            ranked = sorted(seen, key=lambda v: (-seen[v], v.encode() if isinstance(v, str) else v))
            wanted.append(ranked[a.k - 1] if len(ranked) >= a.k else None)
        assert found.column(a.name).to_pylist() == wanted, a.name


def test_several_sources_share_or_do_not_share_their_keys(oracle: SimpleNamespace) -> None:
    rows = [{"k": i % 3, "g": "ab"[i % 2], "t": i, "x": float(i)} for i in range(30)]
    spine = [{"k": i % 4, "g": "ab"[i % 2], "at": i * 2} for i in range(20)]
    plans = [
        Source(name, "rows", keys, keys, "t", aggregates=(Aggregate(name, "last", "x", Type.FLOAT64),))
        for name, keys in (("a", ("k",)), ("b", ("g",)), ("c", ("k",)), ("d", ("k", "g")))
    ]
    with duckdb.connect() as connection:
        connection.register("rows", table(rows, ["k", "g", "t"]).append_column("x", pa.array([r["x"] for r in rows])))
        found = as_of(table(spine, ["k", "g", "at"]), "at", plans, connection=connection, threads=2)
    wanted = oracle.as_of(spine, "at", [(plan, rows) for plan in plans])
    assert {plan.name: found.column(plan.name).to_pylist() for plan in plans} == {p.name: wanted[p.name] for p in plans}


def joined(relation: str, spine: str = "SELECT 1 AS k, 10 AS at", **changes: Any) -> pa.Table:
    plan: dict[str, Any] = {
        "name": "v",
        "relation": relation,
        "keys": ("k",),
        "spine_keys": ("k",),
        "time": "t",
        "aggregates": (Aggregate("f", "sum", "x", Type.FLOAT64, scale=10),),
    } | changes
    return as_of(spine, "at", [Source(**plan)])


def test_times_may_be_timestamps_of_any_unit_dates_or_integers() -> None:
    spine = "SELECT 1 AS k, TIMESTAMPTZ '2020-01-01 02:00:00+01' AS at"
    for moment in (
        "TIMESTAMP '2020-01-01 00:59:59'",
        "TIMESTAMPTZ '2020-01-01 00:59:59+00'",
        "DATE '2020-01-01'",
        "TIMESTAMP_S '2020-01-01 00:59:59'",
        "TIMESTAMP_MS '2020-01-01 00:59:59'",
        "TIMESTAMP_NS '2020-01-01 00:59:59'",
        "1577840399000000",
    ):
        rows = f"SELECT 1 AS k, {moment} AS t, 2.5::DOUBLE AS x UNION ALL SELECT 1, {moment} + INTERVAL 1 HOUR, 7"
        if moment[0] == "1":
            rows = rows.replace("INTERVAL 1 HOUR", "3600000000")
        assert joined(rows, spine).column("f").to_pylist() == [2.5], moment


def test_nanoseconds_are_cut_towards_the_past() -> None:
    rows = "SELECT 1 AS k, make_timestamp_ns(-1) AS t, 1::DOUBLE AS x"  # the last ns of 1969 is in its last µs
    assert joined(rows, "SELECT 1 AS k, 0 AS at").column("f").to_pylist() == [1.0]
    assert joined(rows, "SELECT 1 AS k, -1 AS at").column("f").to_pylist() == [None]


def test_an_empty_spine_and_an_empty_source_give_empty_answers() -> None:
    rows = "SELECT 1 AS k, 1 AS t, 1.0 AS x"
    assert joined(rows, "SELECT 1 AS k, 10 AS at WHERE false").num_rows == 0
    none = joined(
        f"SELECT * FROM ({rows}) WHERE false",
        aggregates=(
            Aggregate("n", "count", None, Type.INT64),
            Aggregate("w", "last", "x", Type.FLOAT64),
            Aggregate("q", "quantile", "x", Type.FLOAT64, q=0.5),
            Aggregate("d", "distinct", "x", Type.FLOAT64),
            Aggregate("t", "top", "x", Type.FLOAT64, k=1),
        ),
    )
    assert none.select(["n", "w", "q", "d", "t"]).to_pylist() == [{"n": 0, "w": None, "q": None, "d": 0, "t": None}]


def test_a_value_out_of_range_names_source_column_value_and_scale() -> None:
    with pytest.raises(Invalid, match=r"source 'v', column 'x': value 1e\+30 at scale 10 is out of range"):
        joined("SELECT 1 AS k, 1 AS t, 1e30 AS x")
    with pytest.raises(Invalid, match=r"value inf at scale 10"):
        joined("SELECT 1 AS k, 1 AS t, 'infinity'::DOUBLE AS x")
    with pytest.raises(Invalid, match=r"value 1099511627776 at scale 0"):
        joined("SELECT 1 AS k, 1 AS t, 1099511627776 AS x", aggregates=(Aggregate("f", "sum", "x", Type.INT64),))


def test_an_infinite_time_is_refused() -> None:
    with pytest.raises(Invalid, match="source 'v'"):
        joined("SELECT 1 AS k, 9223372036854775807 AS t, 1.0 AS x")


def test_an_unknown_column_names_the_nearest_one() -> None:
    with pytest.raises(NotFound, match=r"no column of source 'v' 'tme' \(have: k, t, x\)"):
        joined("SELECT 1 AS k, 1 AS t, 1.0 AS x", time="tme")
    with pytest.raises(NotFound, match="Did you mean 'kee'"):
        joined("SELECT 1 AS k, 1 AS t, 1.0 AS x", spine="SELECT 1 AS kee, 1 AS at", spine_keys=("ke",))


def test_columns_of_another_type_than_declared_are_refused() -> None:
    with pytest.raises(Invalid, match="column 'x' is VARCHAR, wanted float64"):
        joined("SELECT 1 AS k, 1 AS t, 'one' AS x")
    with pytest.raises(Invalid, match="key 'k' is string and the spine's 'k' is int64"):
        joined("SELECT '1' AS k, 1 AS t, 1.0 AS x")
    with pytest.raises(Invalid, match="id 'x' is float64"):
        joined("SELECT 1 AS k, 1 AS t, 1::DOUBLE AS x", id="x")


def test_broken_sql_and_missing_files_name_the_source() -> None:
    with pytest.raises(Invalid, match="source 'v': Parser Error"):
        joined("SELECT FROM WHERE")
    with pytest.raises(NotFound, match="source 'v'"):
        joined("read_parquet('/nowhere/*.parquet')")


def test_a_feature_name_that_is_taken_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="'at' exists already"):
        joined("SELECT 1 AS k, 1 AS t, 1.0 AS x", aggregates=(Aggregate("at", "last", "x", Type.FLOAT64),))
