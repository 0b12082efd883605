"""No skew: what is looked up at T is what history says as of T, bit for bit, for any history and any entity."""

from __future__ import annotations

import struct
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fivefold as ff
from fivefold.backends import connect
from fivefold.core.errors import FivefoldError, Invalid
from fivefold.core.feature_names import feature_types
from fivefold.core.types import Type
from fivefold.features.frame import frame
from fivefold.features.lookup import Lookup
from fivefold.features.materialise import materialise
from fivefold.models.encode import fit_encoding
from fivefold.ports.online import OnlineStore

T = 1_700_000_000_000_000
HOUR = 3_600_000_000
SCHEMA = {
    "who": Type.STRING, "where": Type.INT64, "at": Type.TIMESTAMP, "nth": Type.INT64, "row_id": Type.STRING,
    "v": Type.FLOAT64, "n": Type.INT64, "s": Type.STRING, "b": Type.BOOL, "seen": Type.TIMESTAMP,
}
ARROW = {Type.STRING: pa.string(), Type.INT64: pa.int64(), Type.FLOAT64: pa.float64(), Type.BOOL: pa.bool_(),
         Type.TIMESTAMP: pa.timestamp("us")}
AGGREGATES = [
    ff.count(), ff.count("v", over="2h"), ff.sum("v", over="3h"), ff.mean("v"), ff.std("v", over="5h"), ff.sum("n"),
    ff.min("s"), ff.max("v", over="1h"), ff.last("v"), ff.last("n"), ff.last("s"), ff.last("b"), ff.last("seen"),
    ff.first("v", over="4h"), ff.distinct("s"), ff.quantile("v", 0.5), ff.last("n", ago="1h"),
    ff.top("s"), ff.top("b", 2, over="6h"), ff.top("seen"),
    ff.count(over="2h", hop="1h", name="hopped"),
]
MOMENTS = st.one_of(st.integers(-8 * HOUR, HOUR), st.sampled_from([-HOUR, -2 * HOUR, 0, -1, 1, -HOUR - 1])).map(
    lambda d: T + d)
FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.5, -2.25, 0.1]), st.floats(-1e3, 1e3))
KEYS = {
    Type.STRING: st.one_of(st.none(), st.sampled_from(["a", "b", "", "é", "x" * 300])),
    Type.INT64: st.one_of(st.none(), st.sampled_from([0, 1, -1, 2**62, -(2**63)])),
    Type.BOOL: st.one_of(st.none(), st.booleans()),
    Type.TIMESTAMP: st.one_of(st.none(), st.sampled_from([T, T + 1, 0])),
}


def half(x: np.ndarray, s: np.ndarray) -> np.ndarray:
    return np.where(np.equal(s, None), x / 2, x + 0.25)


def table(rows: list[dict[str, Any]], schema: dict[str, Type]) -> pa.Table:
    return pa.table({c: pa.array([r[c] for r in rows], pa.int64() if k is Type.TIMESTAMP else ARROW[k]).cast(ARROW[k])
                     for c, k in schema.items()})


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    kinds = draw(st.lists(st.sampled_from(list(KEYS)), min_size=2, max_size=2))
    schema = {**SCHEMA, "who": kinds[0], "where": kinds[1]}
    row = st.fixed_dictionaries({
        "who": KEYS[kinds[0]], "where": KEYS[kinds[1]], "at": st.one_of(st.none(), MOMENTS), "v": FLOATS,
        "nth": st.one_of(st.none(), st.integers(0, 3)), "row_id": st.one_of(st.none(), st.sampled_from("pqrstuvw")),
        "n": st.one_of(st.none(), st.integers(-5, 5)), "s": st.one_of(st.none(), st.sampled_from(["u", "w", "é"])),
        "b": st.one_of(st.none(), st.booleans()), "seen": st.one_of(st.none(), MOMENTS),
    })
    ask = st.fixed_dictionaries({
        "who": KEYS[kinds[0]], "where": KEYS[kinds[1]], "asked": FLOATS, "whole": st.one_of(st.none(), st.integers(
            -(2**63), 2**63 - 1)), "late": st.one_of(st.none(), st.booleans()), "since": st.one_of(st.none(), MOMENTS),
        "word": st.one_of(st.none(), st.sampled_from(["u", "w", "new"]))})
    return {
        "schema": schema, "rows": draw(st.lists(row, max_size=14)), "asked": draw(st.lists(ask, min_size=1, max_size=5)),
        "key": draw(st.sampled_from([["who"], ["where"], ["who", "where"], ["where", "who"]])),
        "ttl": draw(st.sampled_from([None, "90m", "4h"])), "delay": draw(st.sampled_from([None, "30m"])),
        "seq": draw(st.sampled_from([None, "nth"])), "id": draw(st.sampled_from([None, "row_id"])),
        "at": T + draw(st.sampled_from([0, 1, -HOUR, 12 * HOUR])),
    }


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_a_look_up_at_a_moment_is_history_as_of_it(world: dict[str, Any]) -> None:
    source = ff.Table("events", "events.csv", time="at", seq=world["seq"], id=world["id"])
    view = ff.FeatureView("events_of", ff.Entity("thing", key=world["key"]), source, AGGREGATES, ttl=world["ttl"],
                          delay=world["delay"])
    model = ff.Model("m", ff.Target(source, "b"), learner=ff.learner("logistic"), split=ff.RandomSplit(), features=[
        view, ff.Request("asked", float), ff.Request("whole", int), ff.Request("late", bool),
        ff.Request("since", "timestamp"), ff.Request("word", str),
        ff.Derived("ratio", "(asked + last_v) / sum_n"), ff.Derived("half_hour", "seconds_between(since, seen) / 1800"),
        ff.Derived("mood", "case when late then upper(word) || s else s end"),
        ff.Udf("halved", half, ["ratio", "word"], float)])
    schemas = {"events": world["schema"]}
    scales = {"events": {"v": 20}}
    history = table(world["rows"], world["schema"])
    asked_schema = {**{k: world["schema"][k] for k in world["key"]}, "asked": Type.FLOAT64, "whole": Type.INT64,
                    "late": Type.BOOL, "since": Type.TIMESTAMP, "word": Type.STRING, "__moment": Type.TIMESTAMP}
    spine = table([{**r, "__moment": world["at"]} for r in world["asked"]], asked_schema)
    store = connect(OnlineStore, "memory:")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("history", history)
        materialise(connection, store, "events_of@1", view, at=world["at"], meaning="m", snapshot="s", schemas=schemas,
                    scales=scales, relation=lambda _: "history")
        past = frame(connection, model, spine, "__moment", schemas, scales, lambda _: "history")
    lookup = Lookup(model, schemas, scales, lambda v: f"{v.name}@1")
    sent = msgspec.json.decode(msgspec.json.encode([{k: r[k] for k in lookup.fields} for r in world["asked"]]))
    found = lookup.vectors(store, [lookup.accept(r) for r in sent], world["at"])
    types = feature_types(model, schemas)
    plain = past.select(lookup.names)
    learnt = [n for n in lookup.names if types[n] is not Type.TIMESTAMP]
    encoding = fit_encoding(plain, learnt, types)
    for name in lookup.names:
        column = plain[name]
        expected = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        got = [v.values[lookup.names.index(name)] for v in found]
        # -0.0 of a request is 0.0 on both paths once a model or an expression sees it
        assert [bits(e + 0.0 if isinstance(e, float) else e) for e in expected] == [bits(g) for g in got], name
    exact = [i for i, r in enumerate(world["asked"]) if r["whole"] is None or abs(r["whole"]) <= 2**53]
    matrix = encoding.matrix(plain.take(pa.array(exact, pa.int64()))) + 0.0
    for at, i in enumerate(exact):
        values = dict(zip(lookup.names, found[i].values, strict=True))
        assert encoding.row([values[n] for n in learnt]).tobytes() == matrix[at : at + 1].tobytes()


@pytest.fixture
def shop() -> tuple[Lookup, OnlineStore, ff.Model]:
    orders = ff.Table("orders", "orders.csv", time="at")
    view = ff.FeatureView("spending", ff.Entity("customer", key="who"), orders, [ff.count(), ff.last("v")])
    model = ff.Model("m", ff.Target(orders, "b"), learner=ff.learner("logistic"), split=ff.RandomSplit(), features=[
        view, ff.Request("asked", float), ff.Udf("picky", _picky, ["asked"], float)])
    return Lookup(model, {"orders": SCHEMA}, {}, lambda v: f"{v.name}@1"), connect(OnlineStore, "memory:"), model


def _picky(x: np.ndarray) -> np.ndarray:
    if (x == 13).any():
        raise ValueError("thirteen")
    return x


def test_without_materialised_values_features_are_absent_and_the_view_is_named(
    shop: tuple[Lookup, OnlineStore, ff.Model]
) -> None:
    lookup, store, _ = shop
    (vector,) = lookup.vectors(store, [lookup.accept({"who": "a", "asked": 1})])
    assert not isinstance(vector, FivefoldError)
    assert vector.values == [0, None, 1.0, 1.0]
    assert vector.statuses == ["absent", "absent", "present", "present"]
    assert vector.as_of == {}
    assert lookup.materialised(store) == {"spending": None}


def test_a_row_whose_udf_fails_fails_alone(shop: tuple[Lookup, OnlineStore, ff.Model]) -> None:
    lookup, store, _ = shop
    good, bad, also_good = lookup.vectors(store, [{"who": "a", "asked": x} for x in (1.0, 13.0, 2.0)])
    assert not isinstance(good, FivefoldError)
    assert not isinstance(also_good, FivefoldError)
    assert isinstance(bad, Invalid)
    assert "udf:picky failed: ValueError: thirteen" in bad.message


def test_a_new_materialisation_is_seen_by_a_look_up_that_was_made_before(
    shop: tuple[Lookup, OnlineStore, ff.Model]
) -> None:
    lookup, store, model = shop
    view = model.features[0]
    for at, expected in ((T, [1, 7.0]), (T + 10, [2, 9.0])):
        with duckdb.connect() as connection:
            connection.register("history", table([
                {**dict.fromkeys(SCHEMA), "who": "a", "at": T - 5, "v": 7.0},
                {**dict.fromkeys(SCHEMA), "who": "a", "at": T + 5, "v": 9.0}], SCHEMA))
            materialise(connection, store, "spending@1", view, at=at, meaning="m", snapshot="s",
                        schemas={"orders": SCHEMA}, scales={}, relation=lambda _: "history")
        (vector,) = lookup.vectors(store, [{"who": "a", "asked": None}])
        assert not isinstance(vector, FivefoldError)
        assert vector.values[:2] == expected
        assert vector.as_of == {"spending": at}
        assert vector.times[1] == (T - 5 if at == T else T + 5)
