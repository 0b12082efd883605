"""Events as bytes: what a stream's records hold, read into values of its columns and written from them.

A field that is missing is null, and one that the schema does not know is passed over, so that producers may be ahead of
their readers. Everything else that does not fit is Invalid, for any bytes at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from fivefold.core.errors import Invalid, did_you_mean
from fivefold.core.types import Type
from fivefold.core.values import LONGEST_SHOWN, shown, typed
from fivefold.data import avro

MOST_BYTES = 1 << 20
FORMATS = ("json", "msgpack", "avro")
# what Confluent's serializers put before a datum: a zero, and four bytes that name a schema in their registry
CONFLUENT = "avro-confluent"
_CONFLUENT_HEADER = 5

Decode = Callable[[bytes], tuple[Any, ...]]
Columns = list[Sequence[Any]]
DecodeMany = Callable[[Sequence[bytes]], tuple[Columns, dict[int, Invalid]]]
Encode = Callable[[Mapping[str, Any]], bytes]

_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_FIELDS: dict[Type, Any] = {
    Type.INT64: _INT64 | None,
    Type.FLOAT64: float | None,
    Type.BOOL: bool | None,
    Type.STRING: str | None,
    Type.TIMESTAMP: _INT64 | str | None,
}
# all that msgspec raises for bytes it does not like; nesting ends where the stack of Python does
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decoder(schema: Mapping[str, Type], format: str) -> Decode:
    """A function from the bytes of an event to its values, in the order of the schema.

    It raises Invalid, naming the field, the value and what is accepted, for any bytes that are no such event.

    >>> decoder({"id": Type.STRING, "price": Type.FLOAT64}, "json")(b'{"price": 3, "id": "a"}')
    ('a', 3.0)
    """
    match format:
        case "json":
            return _named(schema, format, msgspec.json.Decoder)
        case "msgpack":
            return _named(schema, format, msgspec.msgpack.Decoder)
        case "avro" | "avro-confluent":
            return _avro(schema, confluent=format == CONFLUENT)
    raise _unknown(format, (*FORMATS, CONFLUENT))


def columns_decoder(schema: Mapping[str, Type], format: str) -> DecodeMany:
    """A function from the bytes of many events to their values by column, in the order of the schema.

    It gives the values that `decoder` gives, of those that are events, and by place what is wrong with the others.
    """
    one = decoder(schema, format)

    def one_by_one(data: Sequence[bytes]) -> tuple[Columns, dict[int, Invalid]]:
        rows, wrong = [], {}
        for place, each in enumerate(data):
            try:
                rows.append(one(each))
            except Invalid as e:
                wrong[place] = e
        return list(zip(*rows, strict=True)) if rows else [()] * len(schema), wrong

    libraries = {"json": msgspec.json.Decoder, "msgpack": msgspec.msgpack.Decoder}
    if format not in libraries:
        return one_by_one
    quick = libraries[format](_event(schema)).decode
    kinds = [(attrgetter(f"f{i}"), kind) for i, kind in enumerate(schema.values())]

    def decode(data: Sequence[bytes]) -> tuple[Columns, dict[int, Invalid]]:
        if max(map(len, data), default=0) > MOST_BYTES:
            return one_by_one(data)
        try:
            events = list(map(quick, data))
        except _REFUSED:
            return one_by_one(data)
        columns: Columns = []
        for read, kind in kinds:
            values = list(map(read, events))
            if kind is Type.FLOAT64:
                # null is not a number here
                numbers = np.array(values, np.float64)
                for place in np.flatnonzero((numbers == 0) | np.isnan(numbers)).tolist():
                    values[place] = _number(values[place])
            elif kind is Type.TIMESTAMP and str in set(map(type, values)):
                return one_by_one(data)
            columns.append(values)
        return columns, {}

    return decode


def encoder(schema: Mapping[str, Type], format: str) -> Encode:
    """A function from an event's values by column to bytes that `decoder` of the same schema and format reads.

    It raises Invalid for a column that is not in the schema, and for a value of another type.
    """
    if format not in FORMATS:
        raise _unknown(format, FORMATS)
    columns = list(schema.items())
    if format == "avro":
        avro.avro_schema(schema)
    packed = msgspec.json.Encoder().encode if format == "json" else msgspec.msgpack.Encoder().encode

    def encode(event: Mapping[str, Any]) -> bytes:
        values = _values(event, columns)
        unknown = next((name for name in event if name not in schema), None)
        if unknown is not None:
            raise Invalid(
                f"there is no field {shown(unknown)} (accepted: {', '.join(schema)}).",
                hint=did_you_mean(str(unknown)[:LONGEST_SHOWN], schema),
            )
        if format == "json":
            for (name, _), value in zip(columns, values, strict=True):
                if type(value) is float and math.isinf(value):
                    raise Invalid(f"the field {name!r} is {value}, which JSON cannot hold.", hint="Send null.")
        try:
            data = avro.write(values, columns) if format == "avro" else packed(dict(zip(schema, values, strict=True)))
        except UnicodeEncodeError as e:
            raise Invalid(f"a text of the event is not Unicode: {shown(e.object)}.") from None
        _check_size(data)
        return data

    return encode


def _event(schema: Mapping[str, Type]) -> Any:
    # fields are numbered, since a column may be called what no attribute can be
    return msgspec.defstruct(
        "Event",
        [(f"f{i}", _FIELDS[kind], None) for i, kind in enumerate(schema.values())],
        rename={f"f{i}": name for i, name in enumerate(schema)},
        gc=False,
    )


def _named(schema: Mapping[str, Type], format: str, library: Callable[..., Any]) -> Decode:
    columns = list(schema.items())
    quick, anything = library(_event(schema)).decode, library().decode
    floats = [i for i, (_, kind) in enumerate(columns) if kind is Type.FLOAT64]
    times = [i for i, (_, kind) in enumerate(columns) if kind is Type.TIMESTAMP]
    as_tuple = msgspec.structs.astuple

    def decode(data: bytes) -> tuple[Any, ...]:
        # written out: this is the innermost loop of a stream
        if len(data) > MOST_BYTES:
            raise _too_large(data)
        try:
            row: tuple[Any, ...] = as_tuple(quick(data))
        except _REFUSED:
            # read again without a schema, to name what is wrong
            return slowly(data)
        for i in floats:
            # neither null, a zero of either sign, nor NaN: nearly all numbers are as they should be
            if not row[i] or row[i] != row[i]:
                return canonical(row)
        for i in times:
            if type(row[i]) is str:
                return canonical(row)
        return row

    def canonical(row: tuple[Any, ...]) -> tuple[Any, ...]:
        out = list(row)
        for i in floats:
            out[i] = _number(row[i])
        for i in times:
            if type(row[i]) is str:
                out[i] = typed(columns[i][0], row[i], Type.TIMESTAMP)
        return tuple(out)

    def slowly(data: bytes) -> tuple[Any, ...]:
        try:
            found = anything(data)
        except _REFUSED as e:
            said = "it is nested too deep" if isinstance(e, RecursionError) else str(e).rstrip(".")
            raise Invalid(f"an event is not {format}: {said}.", hint=f"It begins with {shown(data[:60])}.") from None
        if not isinstance(found, dict):
            raise Invalid(f"an event is an object, not {shown(found)}.", hint=f"Send the fields {', '.join(schema)}.")
        return tuple(_values(found, columns))

    return decode


def _avro(schema: Mapping[str, Type], confluent: bool) -> Decode:
    avro.avro_schema(schema)
    columns = list(schema.items())
    floats = [i for i, (_, kind) in enumerate(columns) if kind is Type.FLOAT64]
    start = _CONFLUENT_HEADER if confluent else 0

    def decode(data: bytes) -> tuple[Any, ...]:
        _check_size(data)
        if confluent and (len(data) < start or data[0]):
            raise Invalid(
                f"an event begins with {shown(data[:start])}, not with the header of {CONFLUENT}.",
                hint="It is a zero and four bytes; without one, the format is avro.",
            )
        row = avro.read(data, columns, start)
        for i in floats:
            row[i] = _number(row[i])
        return tuple(row)

    return decode


def _values(event: Mapping[Any, Any], columns: list[tuple[str, Type]]) -> list[Any]:
    out = []
    for name, kind in columns:
        value = event.get(name)
        if value is not None:
            value = typed(name, value, kind)
            value = _number(value) if kind is Type.FLOAT64 else value
        out.append(value)
    return out


def _number(value: float | None) -> float | None:
    """Null for what is not a number, and one zero for both."""
    return None if value is None or value != value else value + 0.0


def _check_size(data: bytes) -> None:
    if len(data) > MOST_BYTES:
        raise _too_large(data)


def _too_large(data: bytes) -> Invalid:
    return Invalid(
        f"an event has {len(data)} bytes (accepted: {MOST_BYTES}).", hint="Keep what is large elsewhere, and name it."
    )


def _unknown(format: str, have: tuple[str, ...]) -> Invalid:
    return Invalid(f"no format {format!r} for events (have: {', '.join(have)}).", hint=did_you_mean(format, have))
