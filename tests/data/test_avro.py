from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.data.avro import avro_schema, read, write

SCHEMA = {"i": Type.INT64, "f": Type.FLOAT64, "b": Type.BOOL, "s": Type.STRING, "t": Type.TIMESTAMP}
COLUMNS = list(SCHEMA.items())
INT64 = st.integers(-(2**63), 2**63 - 1)
ROWS = st.tuples(
    st.none() | INT64, st.none() | st.floats(allow_nan=False), st.none() | st.booleans(),
    st.none() | st.text(st.sampled_from("aZ0\x00\x7féß€\ud7ff😀\U0010ffff")), st.none() | INT64,
)


@given(ROWS)
def test_another_library_reads_and_writes_the_same(row: tuple[Any, ...]) -> None:
    plain = avro_schema(SCHEMA)
    # of its timestamps it would make datetimes, which end in the year 9999
    plain["fields"][-1]["type"] = ["null", "long"]
    theirs = fastavro.parse_schema(plain)
    event = dict(zip(SCHEMA, row, strict=True))
    data = write(row, COLUMNS)
    assert fastavro.schemaless_reader(io.BytesIO(data), theirs) == event
    out = io.BytesIO()
    fastavro.schemaless_writer(out, theirs, event)
    assert out.getvalue() == data
    assert [(type(v), repr(v)) for v in read(data, COLUMNS)] == [(type(v), repr(v)) for v in row]
    assert read(b"header" + data, COLUMNS, 6) == read(data, COLUMNS)


def test_the_schema_is_one_that_others_accept() -> None:
    fastavro.parse_schema(avro_schema(SCHEMA, "Takeoff"))
    with pytest.raises(Invalid, match="the column 'a b' cannot be a field in Avro"):
        avro_schema({"a b": Type.INT64})


@pytest.mark.parametrize(("data", "said"), [
    (b"", "the field 'i' is no int64 in Avro: it ends there."),
    (b"\x04", "the field 'i' is no int64 in Avro: the byte b'\\x04' chooses neither null nor it."),
    (b"\x02" + b"\xff" * 10, "more than 64 bits"),
    (b"\x00\x02\x00", "the field 'f' is no float64 in Avro: it ends too early."),
    (b"\x00\x00\x02\x02", "the field 'b' is no bool in Avro: it is neither 0 nor 1."),
    (b"\x00\x00\x00\x02\x09x", "the field 's' is no string in Avro: its length is said to be -5, with 1 bytes left."),
    (b"\x00\x00\x00\x02\x02\xff\x00", "the field 's' is no string in Avro: it is not UTF-8."),
    (b"\x00\x00\x00\x00\x00\x00", "after the last field are 1 more bytes."),
])
def test_what_is_wrong_is_named(data: bytes, said: str) -> None:
    with pytest.raises(Invalid) as e:
        read(data, COLUMNS)
    assert said in str(e.value)
