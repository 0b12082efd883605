"""A state answers every moment from its horizon on as the oracle does, whatever way its rows came in."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.core.types import Type
from fivefold.features.entity_keys import key_bytes
from fivefold.features.kernel.plan import ACCEPTS, FIXED_POINT, Aggregate, Source
from fivefold.features.state.apply import applied
from fivefold.features.state.incoming import incoming
from fivefold.features.state.key import View, tile_key
from fivefold.features.state.value import Values

Row = dict[str, Any]
COLUMNS = {"x": Type.FLOAT64, "n": Type.INT64, "b": Type.BOOL, "w": Type.STRING, "m": Type.TIMESTAMP}
ARROW = {"x": pa.float64(), "n": pa.int64(), "b": pa.bool_(), "w": pa.string(), "m": pa.int64()}

ROW = st.fixed_dictionaries(
    {
        "k": st.sampled_from([1, 1, 1, 2]),
        "t": st.integers(-12, 60),
        "s": st.sampled_from([None, -1, 0, 1]),
        "x": st.one_of(st.none(), st.just(-0.0), st.sampled_from([0.1, 1.0, 1.01, -3.3]), st.floats(-1e6, 1e6)),
        "n": st.one_of(st.none(), st.integers(-(2**40) + 1, 2**40 - 1), st.integers(-2, 2)),
        "b": st.sampled_from([None, False, True]),
        "w": st.sampled_from([None, "", "a", "é", "z", "𝄞", "\uffee"]),
        "m": st.one_of(st.none(), st.integers(-5, 5)),
    }
)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    style = draw(st.sampled_from(["any", "last", "hop"]))
    out = []
    for number in range(draw(st.integers(1, 6))):
        fn = "last" if style == "last" else draw(st.sampled_from(sorted(ACCEPTS)))
        arithmetic = fn in ("sum", "mean", "std", "quantile")
        column = draw(st.sampled_from(["x", "n", "b"] if arithmetic else [*COLUMNS, None] if fn == "count" else [*COLUMNS]))
        kind = COLUMNS[column] if column else Type.INT64
        over = draw(st.integers(1, 20)) if style == "hop" else draw(st.one_of(st.none(), st.integers(1, 20)))
        extra = {"k": draw(st.integers(1, 3))} if fn == "top" else {}
        out.append(Aggregate(
            f"f{number}", fn, column, kind, over=over,
            # `last` over a time, as a time to live makes it, has an edge of its own
            hop=(draw(st.sampled_from([2, 4, 6, None] if fn == "last" else [2, 4, 6])) if style == "hop" else draw(st.sampled_from([None, 1, 3, 7]))) if over else None,
            ago=draw(st.sampled_from([0, 0, 0, 5])),
            q=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])) if fn == "quantile" else None,
            scale=draw(st.integers(-3, 18)) if fn in FIXED_POINT and kind is Type.FLOAT64 else None, **extra))
    return Source("v", "rows", ("k",), ("k",), "t", seq=draw(st.sampled_from([None, "s"])),
                  delay=draw(st.sampled_from([0, 0, 1, 4])), aggregates=tuple(out))


def table(source: Source, rows: list[Row]) -> pa.Table:
    columns = {"k0": pa.array([r["k"] for r in rows], pa.int64()), "t": pa.array([r["t"] for r in rows], pa.int64())}
    if source.seq:
        columns["s"] = pa.array([r["s"] for r in rows], pa.int64())
    columns |= {f"c{n}": pa.array([r[c] for r in rows], ARROW[c]) for n, (c, _) in enumerate(source.columns)}
    return pa.table(columns)


class Held:
    """States in a dictionary, as a store would hold them."""

    def __init__(self, source: Source, tile_rows: int = 3, fold_at: int = 2) -> None:
        self.view = View(source, Type.INT64 if source.seq else None, tile_rows, fold_at)
        self.made = Values(self.view)
        self.held: dict[bytes, bytes] = {}

    def add(self, rows: list[Row], horizon: int) -> None:
        new = incoming(self.view, table(self.view.source, rows), key_bytes)
        for key, value in applied(self.view, new.keys, new.entity, new.rows, horizon,
                                  lambda keys: [self.held.get(k) for k in keys]):
            if value is None:
                self.held.pop(key, None)
            else:
                self.held[key] = value

    def values(self, key: int, at: int, *others: Held) -> list[Any]:
        place = key_bytes([key])
        states = [(one.held[place], lambda refs, one=one: [one.held[tile_key(place, r)] for r in refs])
                  for one in (self, *others) if place in one.held]
        return self.made.of(states, at)


def exact(values: list[Any]) -> list[Any]:
    return [struct.pack("<d", v) if isinstance(v, float) else v for v in values]


def same(source: Source, rows: list[Row], key: int, at: int, found: list[Any], oracle: SimpleNamespace) -> None:
    wanted = oracle.as_of([{"k": key, "at": at}], "at", [(source, rows)])
    names = [a.name for a in source.aggregates]
    assert exact([f.value for f in found]) == exact([wanted[n][0] for n in names])
    assert [f.time for f in found] == [wanted[f"{n}__time"][0] for n in names]
    for f, a in zip(found, source.aggregates, strict=True):
        assert isinstance(f.value, bool) == (a.type is Type.BOOL and a.fn in ("min", "max", "first", "last", "top") and f.value is not None)


@settings(max_examples=400, deadline=None)
@given(sources(), st.lists(ROW, max_size=40), st.lists(st.integers(0, 12), max_size=8), st.integers(0, 15), st.randoms(),
       st.sampled_from([-(10**6), -(10**6), 10, 30, 50]))
def test_rows_in_any_order_and_any_batches_give_what_history_gives(
    oracle: SimpleNamespace, source: Source, rows: list[Row], cuts: list[int], lateness: int, chance: Any, ahead: int
) -> None:
    """Rows come roughly in time's order, none later than the allowance; after each batch every moment is asked.

    A view may be kept for moments that are `ahead` of its rows.
    """
    arriving = sorted(rows, key=lambda r: r["t"] + chance.randint(0, lateness))
    held = Held(source)
    seen: list[Row] = []
    mark = -(10**6)
    while arriving:
        size = cuts.pop() if cuts else len(arriving)
        batch, arriving = arriving[:size], arriving[size:]
        for row in batch:
            assert row["t"] >= mark - lateness
            mark = max(mark, row["t"])
        horizon = max(ahead, mark - lateness)
        if batch:
            held.add(batch, horizon)
        seen += batch
        for at in {horizon, max(horizon, mark), *(max(horizon, mark) + later for later in (1, 7, 30))}:
            for key in (1, 2, 3):
                if (place := key_bytes([key])) in held.held or key == 3:
                    same(source, seen, key, at, held.values(key, at), oracle)
                else:
                    assert all(v is None or v == 0 for v in (oracle.as_of([{"k": key, "at": at}], "at", [(source, seen)])[a.name][0] for a in source.aggregates)), place


@settings(max_examples=150, deadline=None)
@given(sources(), st.lists(ROW, max_size=30), st.lists(st.sampled_from([0, 1, 2]), min_size=30, max_size=30))
def test_states_of_several_partitions_answer_as_one(
    oracle: SimpleNamespace, source: Source, rows: list[Row], where: list[int]
) -> None:
    parts = [Held(source) for _ in range(3)]
    by_part: list[list[Row]] = [[], [], []]
    for row, place in zip(rows, where, strict=False):
        by_part[place].append(row)
    horizon = max((r["t"] for r in rows), default=0) - 5
    for part, its in zip(parts, by_part, strict=True):
        its.sort(key=lambda r: r["t"])
        for start in range(0, len(its), 4):
            part.add(its[start : start + 4], min(horizon, its[start]["t"]))
    for at in (horizon, horizon + 3, horizon + 6, horizon + 40):
        same(source, rows, 1, at, parts[0].values(1, at, *parts[1:]), oracle)


def test_many_values_are_counted_as_history_counts_them(oracle: SimpleNamespace) -> None:
    of = [Aggregate("d", "distinct", "n", Type.INT64), Aggregate("e", "distinct", "n", Type.INT64, over=4000),
          Aggregate("q", "quantile", "n", Type.INT64, q=0.9, over=8000)]
    source = Source("v", "rows", ("k",), ("k",), "t", aggregates=tuple(of))
    rows = [{"k": 1, "t": i, "s": None, "x": None, "n": i * 7919 % 1_000_003, "b": None, "w": None, "m": None} for i in range(9000)]
    held = Held(source, 256, 64)
    for start in range(0, len(rows), 700):
        held.add(rows[start : start + 700], rows[start]["t"])
    same(source, rows, 1, 9000, held.values(1, 9000), oracle)
    whole = held.held[key_bytes([1])]
    assert len(whole) < 200_000  # what is behind the windows is merged, not kept
