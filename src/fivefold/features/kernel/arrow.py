"""Arrow columns in canonical form: int64, float64, bool, text, and times as int64 µs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from fivefold.core.errors import Invalid
from fivefold.core.types import Type

HOLDS = {
    Type.INT64: {Type.INT64},
    Type.FLOAT64: {Type.FLOAT64, Type.INT64},
    Type.BOOL: {Type.BOOL},
    Type.STRING: {Type.STRING},
    Type.TIMESTAMP: {Type.TIMESTAMP, Type.INT64},
}
"""What a column may be to be read as each type; an integer is also a time, in µs."""


def own_type(kind: pa.DataType) -> Type | None:
    """The column type that holds an Arrow type, if any does without asking."""
    if pa.types.is_dictionary(kind):
        return own_type(kind.value_type)
    if pa.types.is_boolean(kind):
        return Type.BOOL
    if pa.types.is_integer(kind):
        return Type.INT64
    if pa.types.is_floating(kind):
        return Type.FLOAT64
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Type.STRING
    return Type.TIMESTAMP if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else None


def as_canonical(array: pa.Array, kind: Type, what: str) -> pa.Array:
    """The array as `kind`, which must hold its type; a dictionary of texts stays one.

    Raises Invalid, naming `what`, for an integer beyond int64.
    """
    if kind is Type.STRING:
        return array if pa.types.is_dictionary(array.type) else array.cast(pa.large_string())
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind is Type.TIMESTAMP and not pa.types.is_integer(array.type):
        return _micros(array)
    try:
        return array.cast(
            {Type.FLOAT64: pa.float64(), Type.BOOL: pa.bool_()}.get(kind, pa.int64()), safe=kind is not Type.FLOAT64
        )
    except pa.ArrowInvalid as error:
        raise Invalid(f"{what}: {error}") from error


def _micros(array: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        nanos = array.cast(pa.int64())
        # Arrow's integer division cuts towards zero; times go down, also before 1970
        down = pc.if_else(pc.less(nanos, 0), pc.subtract(nanos, 999), nanos)
        return pc.divide(down, 1000)
    zone = getattr(array.type, "tz", None)
    return array.cast(pa.timestamp("us", zone)).cast(pa.int64())


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column without chunks, copied only when it has several."""
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    return pa.concat_arrays(column.chunks)
