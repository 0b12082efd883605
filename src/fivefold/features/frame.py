"""A model's features for many rows at once: stored ones as of each row's moment, then derived ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa

from fivefold.core.errors import Invalid
from fivefold.core.feature_names import derived_expression, feature_types, resolve
from fivefold.core.features import Derived, Request, Udf, chosen
from fivefold.core.learning import Model
from fivefold.core.types import Schema, Type
from fivefold.features.asof import as_of
from fivefold.features.compile import Relation, Scales, sources
from fivefold.features.kernel.arrow import own_type

MEMORY = 1 << 30
_ARROW = {
    Type.FLOAT64: pa.float64(),
    Type.INT64: pa.int64(),
    Type.BOOL: pa.bool_(),
    Type.STRING: pa.string(),
    Type.TIMESTAMP: pa.timestamp("us"),
}


def frame(
    connection: duckdb.DuckDBPyConnection,
    model: Model,
    spine: pa.Table,
    time: str,
    schemas: Mapping[str, Schema],
    scales: Scales,
    relation: Relation,
    *,
    memory: int = MEMORY,
    threads: int = 2,
    event_times: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> pa.Table:
    """The spine with every feature of a model appended, as of the spine's `time`, in the spine's row order.

    The spine holds the entity keys and the request values under their own names. With `event_times`, each stored
    feature also gets `<name>__time`: the event time of the newest row it saw. Raises Invalid for a request value whose
    column is of another type.
    """
    spine = _typed(model, spine)
    plans = sources(model.features, schemas, scales, relation)
    table = (
        as_of(
            spine,
            time,
            plans,
            memory=memory,
            threads=threads,
            connection=connection,
            event_times=event_times,
            progress=progress,
        )
        if plans
        else spine
    )
    return derive_features(connection, model, table, schemas)


def _typed(model: Model, spine: pa.Table) -> pa.Table:
    """The spine with its request values as they are declared, so that `x / 2` means the same here and on a request."""
    for item in model.features:
        if isinstance(item, Request):
            column = spine[item.name]
            wanted, have = _ARROW[item.type], own_type(column.type)
            if have is Type.INT64 and item.type is Type.FLOAT64:
                # rounds to nearest beyond 2**53, as Python does
                column = column.cast(wanted, safe=False)
            elif have is not item.type:
                raise Invalid(
                    f"{model.ref}: {item.ref} is {item.type}, but the column {item.name!r} to score holds {have}.",
                    hint="Cast it in a view.",
                )
            spine = spine.set_column(spine.column_names.index(item.name), item.name, column)
    return spine


def feature_names(model: Model, schemas: Mapping[str, Schema]) -> list[str]:
    """The model's features in their order of declaration: the columns of its matrix."""
    types = feature_types(model, schemas)
    stored = chosen(model.features)
    own = {item.name for item in model.features if isinstance(item, Request | Derived | Udf)}
    return [name for name in types if name in stored or name in own]


def derive_features(
    connection: duckdb.DuckDBPyConnection, model: Model, table: pa.Table, schemas: Mapping[str, Schema]
) -> pa.Table:
    """Append derived and Udf features, each over what stands before it."""
    types = feature_types(model, schemas)
    known: dict[str, Type] = {n: types[n] for n in chosen(model.features)}
    for item in model.features:
        if isinstance(item, Derived):
            expression, names = derived_expression(model, item, known)
            sql = expression.sql({short: '"' + full.replace('"', '""') + '"' for short, full in names.items()})
            connection.register("feature_rows", table)
            column = connection.sql(f"select {sql} as value from feature_rows").to_arrow_table()["value"]
            connection.unregister("feature_rows")
            table = table.append_column(item.name, column)
        elif isinstance(item, Udf):
            inputs = [resolve(short, model, known, item.ref) for short in item.inputs]
            table = table.append_column(item.name, call_udf(item, [table[name] for name in inputs]))
        if isinstance(item, Request | Derived | Udf):
            known[item.name] = types[item.name]
    return table


def call_udf(item: Udf, columns: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Run a Udf over columns. Numbers arrive as float64 with NaN for null, texts as objects with None.

    Raises Invalid when it fails, or returns another number of values than it was given.
    """
    try:
        arrays = [as_numpy(c) for c in columns]
    except pa.ArrowInvalid as e:
        raise Invalid(f"{item.ref}: {e}.", hint="A Udf sees numbers as float64: exact up to 2**53.") from None
    try:
        out = np.asarray(item.function(*arrays))
    except Exception as e:  # the user's own code: whatever it raises is an error of that function
        raise Invalid(f"{item.ref} failed: {type(e).__name__}: {e}.") from e
    rows = len(columns[0]) if columns else 0
    if out.shape != (rows,):
        raise Invalid(f"{item.ref} returned shape {out.shape} for {rows} rows.", hint=f"Return one array of {rows}.")
    return from_numpy(out, item.type, item.ref)


def as_numpy(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column as a Udf and a model see it."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64())
    return np.asarray(
        column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        if isinstance(column, pa.Array)
        else column.cast(pa.float64()).to_numpy(),
        dtype=np.float64,
    )


def from_numpy(values: np.ndarray, kind: Type, where: str) -> pa.Array:
    """A Udf's result as a column of its declared type; NaN and None become null."""
    try:
        if values.dtype.kind == "f":
            array = pa.array(values + 0.0, from_pandas=True)
            infinite = np.isinf(values)
            if infinite.any():
                array = pa.array(values, mask=infinite | np.isnan(values))
            return array.cast(_ARROW[kind])
        return pa.array(values.tolist(), type=_ARROW[kind], from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as e:
        raise Invalid(f"{where} is declared {kind}, but returned {values.dtype}: {e}.") from None
