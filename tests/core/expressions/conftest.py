"""Both compilations of an expression, run on the same rows."""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from fivefold.core.expressions import parse
from fivefold.core.types import Type

SCHEMA = {"i": Type.INT64, "j": Type.INT64, "x": Type.FLOAT64, "y": Type.FLOAT64, "b": Type.BOOL, "c": Type.BOOL,
          "s": Type.STRING, "u": Type.STRING, "t": Type.TIMESTAMP, "w": Type.TIMESTAMP}
_ARROW = {Type.INT64: pa.int64(), Type.FLOAT64: pa.float64(), Type.BOOL: pa.bool_(), Type.STRING: pa.string(),
          Type.TIMESTAMP: pa.timestamp("us")}

Rows = Sequence[Mapping[str, Any]]
Evaluate = Callable[[str, Rows], tuple[list[Any], list[Any]]]


def bits(value: Any) -> Any:
    """What two values must share to be the same: the type too, and a float's every bit."""
    return (type(value), struct.pack("<d", value) if isinstance(value, float) else value)


@pytest.fixture(scope="session")
def schema() -> dict[str, Type]:
    return SCHEMA


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    return lambda one, other: bits(one) == bits(other)


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """`evaluate(text, rows)`: the values from DuckDB and those from the row function; a column left out is null."""
    connection = duckdb.connect(config={"threads": 1})
    held: dict[int, tuple[Rows, list[list[Any]]]] = {}

    def columns_of(rows: Rows) -> list[list[Any]]:
        if id(rows) not in held:
            data = [[row.get(name) for row in rows] for name in SCHEMA]
            held.clear()
            held[id(rows)] = rows, data
            connection.register("given", pa.table(
                [pa.array(d, pa.int64()).cast(pa.timestamp("us")) if k is Type.TIMESTAMP else pa.array(d, _ARROW[k])
                 for d, k in zip(data, SCHEMA.values(), strict=True)], list(SCHEMA)))
        return held[id(rows)][1]

    def run(text: str, rows: Rows) -> tuple[list[Any], list[Any]]:
        expression = parse(text, SCHEMA)
        data = columns_of(rows)
        column = connection.sql(f"select {expression.sql()} as value from given").to_arrow_table().column("value")
        assert column.type == _ARROW[expression.type]
        if expression.type is Type.TIMESTAMP:
            column = column.cast(pa.int64())
        function = expression.function()
        places = [list(SCHEMA).index(name) for name in expression.columns]
        return column.to_pylist(), [function(*(data[p][r] for p in places)) for r in range(len(rows))]

    return run
