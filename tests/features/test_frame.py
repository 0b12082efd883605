from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import fivefold as ff
from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.frame import call_udf, feature_names, frame, from_numpy

T = 1_700_000_000_000_000
SCHEMAS = {"orders": {"who": Type.STRING, "at": Type.TIMESTAMP, "v": Type.INT64, "b": Type.BOOL}}
ORDERS = ff.Table("orders", "orders.csv", time="at")
VIEW = ff.FeatureView("spending", ff.Entity("customer", key="who"), ORDERS, [ff.last("v"), ff.count()])


def model(*features: Any) -> ff.Model:
    return ff.Model("m", ff.Target(ORDERS, "b"), features=features, learner=ff.learner("logistic"),
                    split=ff.RandomSplit())


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute("set timezone = 'UTC'")
        made.register("orders", pa.table({
            "who": ["a", "a", "b"], "at": pa.array([T - 3, T - 2, T], pa.timestamp("us")), "v": [1, 2, 3],
            "b": [True, False, None]}))
        yield made


def spine(**columns: Any) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({**columns, "now": pa.array([T] * count, pa.timestamp("us"))})


def run(connection: duckdb.DuckDBPyConnection, made: ff.Model, rows: pa.Table) -> pa.Table:
    return frame(connection, made, rows, "now", SCHEMAS, {}, lambda name: name)


def test_stored_requested_derived_and_coded_features_stand_beside_the_spine(
    connection: duckdb.DuckDBPyConnection
) -> None:
    def doubled(x: np.ndarray) -> np.ndarray:
        return x * 2

    made = model(VIEW, ff.Request("x", float), ff.Derived("y", "x + last_v"), ff.Udf("z", doubled, ["y"], float),
                 ff.Derived("w", "z - y"))
    found = run(connection, made, spine(who=["b", "a", None, "new"], x=[0.5, 1.5, 2.5, None]))
    assert feature_names(made, SCHEMAS) == ["spending.last_v", "spending.count", "x", "y", "z", "w"]
    assert found.select(feature_names(made, SCHEMAS)).to_pydict() == {
        "spending.last_v": [None, 2, None, None], "spending.count": [0, 2, 0, 0], "x": [0.5, 1.5, 2.5, None],
        "y": [None, 3.5, None, None], "z": [None, 7.0, None, None], "w": [None, 3.5, None, None]}


def test_a_whole_number_is_a_float_where_a_float_is_asked_for(connection: duckdb.DuckDBPyConnection) -> None:
    made = model(ff.Request("x", float), ff.Derived("y", "x * 9007199254740993.0"))
    found = run(connection, made, spine(x=[1, 2**62 + 1, None]))
    assert found["x"].type == pa.float64()
    assert found["x"].to_pylist() == [1.0, 2.0**62, None]
    assert found["y"].to_pylist()[1] == 2.0**62 * 9007199254740992.0


def test_a_request_of_another_type_is_refused_by_name(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(Invalid, match=r"model:m: request:x is int64, but the column 'x' to score holds string"):
        run(connection, model(ff.Request("x", int)), spine(x=["1"]))


def test_no_rows_give_a_table_with_every_column(connection: duckdb.DuckDBPyConnection) -> None:
    made = model(VIEW, ff.Request("x", float), ff.Derived("y", "x + last_v"))
    found = run(connection, made, spine(who=pa.array([], pa.string()), x=pa.array([], pa.float64())))
    assert found.num_rows == 0
    assert found.column_names == ["who", "x", "now", "spending.last_v", "spending.count", "y"]


@pytest.mark.parametrize(("function", "says"), [
    (lambda x: x[:1], r"udf:u returned shape \(1,\) for 2 rows"),
    (lambda x: 1 / 0, "udf:u failed: ZeroDivisionError"),
    (lambda x: np.array(["a", "b"]), "udf:u is declared float64, but returned"),
])
def test_a_udf_that_does_not_do_its_work_is_named(function: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        call_udf(ff.Udf("u", function, ["x"], float), [pa.chunked_array([[1.0, 2.0]])])


def test_a_udf_is_not_given_a_number_that_a_float_cannot_hold() -> None:
    with pytest.raises(Invalid, match=r"udf:u: .*9007199254740993.*exact up to 2\*\*53"):
        call_udf(ff.Udf("u", np.sqrt, ["x"], float), [pa.chunked_array([[2**53 + 1]])])


def test_what_no_value_is_becomes_null() -> None:
    assert from_numpy(np.array([1.5, np.nan, np.inf, -0.0]), Type.FLOAT64, "u").to_pylist() == [1.5, None, None, 0.0]
    assert from_numpy(np.array(["a", None], object), Type.STRING, "u").to_pylist() == ["a", None]
    assert from_numpy(np.array([True, False]), Type.BOOL, "u").to_pylist() == [True, False]
    with pytest.raises(Invalid, match="declared int64"):
        from_numpy(np.array([1.5]), Type.INT64, "u")
