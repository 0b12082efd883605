from __future__ import annotations

import contextlib
import json
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.core.values import typed
from fivefold.data.payloads import CONFLUENT, FORMATS, MOST_BYTES, columns_decoder, decoder, encoder

SCHEMA = {"i": Type.INT64, "f": Type.FLOAT64, "b": Type.BOOL, "s": Type.STRING, "t": Type.TIMESTAMP}
INT64 = st.integers(-(2**63), 2**63 - 1)
# one to four bytes of UTF-8, and what formats escape
TEXT = st.text(st.sampled_from("aZ0 \"\\/{\x00\n\x1f\x7féß\u07ff\u0800€\ud7ff\ue000\ufeff\u2028😀\U0010ffff"))
VALUES = {
    Type.INT64: INT64, Type.FLOAT64: st.floats(allow_infinity=False), Type.BOOL: st.booleans(), Type.STRING: TEXT,
    Type.TIMESTAMP: INT64,
}
EVENTS = st.fixed_dictionaries({}, optional={name: st.none() | VALUES[kind] for name, kind in SCHEMA.items()})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
    | st.datetimes().map(str) | st.just(-0.0),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6,
)


def kept(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value + 0.0
    return value


def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Equal in value, in type, and in the sign of a zero."""
    return [(type(v), repr(v)) for v in one] == [(type(v), repr(v)) for v in other]


@pytest.mark.parametrize("format", FORMATS)
@given(EVENTS)
def test_what_is_encoded_is_decoded(format: str, event: dict[str, Any]) -> None:
    found = decoder(SCHEMA, format)(encoder(SCHEMA, format)(event))
    assert same(found, tuple(kept(event.get(name)) for name in SCHEMA))


@given(st.dictionaries(st.sampled_from([*SCHEMA, "other"]), JSON), st.sampled_from(["json", "msgpack"]))
@example({"i": 1.0}, "json")
@example({"f": 2**64, "t": "2013-01-01T01:00+01:00"}, "json")
@example({"s": "\x00", "t": 1.5}, "msgpack")
def test_the_quick_way_answers_what_the_slow_one_does(event: dict[str, Any], format: str) -> None:
    try:
        data = json.dumps(event).encode() if format == "json" else msgspec.msgpack.encode(event)
    except OverflowError:
        # MessagePack has no such integers
        return
    try:
        expected: Any = tuple(
            None if event.get(n) is None else kept(typed(n, event[n], kind)) for n, kind in SCHEMA.items())
    except Invalid as e:
        expected = e.message
    try:
        found: Any = decoder(SCHEMA, format)(data)
    except Invalid as e:
        found = e.message
    if isinstance(expected, str):
        assert isinstance(found, str)
        assert found.split(" is ")[0] == expected.split(" is ")[0]
    else:
        assert same(found, expected)


@pytest.mark.parametrize("format", [*FORMATS, CONFLUENT])
@given(st.binary())
@example(b"[" * 100_000)
@example(b'{"x":' * 100_000)
@example(b"\x81\xa1x" + b"\x91" * 100_000)
@example(b"\x81\x81\x01\x01\x01")
@example(b"\x81\x91\x91\x90\x01")
@example(b"\xdf\x7f\xff\xff\xff\xa1i")
@example(b"\x81\xa1t\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff")
@example(b"\x81\xa1i\xc7\x0c\xff" + b"\xff" * 12)
@example(b'{"i":' + b"9" * 6000 + b"}")
@example(b'{"f":' + b"9" * 6000 + b"}")
@example(b'{"s":"\xff"}')
@example(b'{"s":"\\ud800"}')
@example(b'{"t":"0001-01-01T00:00+23:59"}')
@example(b"\x02" + b"\xff" * 20)
@example(b"\x00\x00\x00\x02\x80\x80\x80\x80\x80\x80\x80\x80\x7f")
def test_any_bytes_are_an_event_or_invalid(format: str, data: bytes) -> None:
    try:
        assert len(decoder(SCHEMA, format)(data)) == len(SCHEMA)
    except Invalid as e:
        assert len(str(e)) < 600


@pytest.mark.parametrize("format", [*FORMATS, CONFLUENT])
@given(EVENTS, st.data())
def test_a_changed_byte_is_an_event_or_invalid(format: str, event: dict[str, Any], data: st.DataObject) -> None:
    whole = bytearray(encoder(SCHEMA, format if format in FORMATS else "avro")(event))
    if format == CONFLUENT:
        whole[:0] = b"\x00\x00\x00\x00\x07"
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    del whole[len(whole) - data.draw(st.integers(0, 3)) :]
    with contextlib.suppress(Invalid):
        decoder(SCHEMA, format)(bytes(whole))


def test_a_missing_field_is_null_and_an_unknown_one_is_passed_over() -> None:
    decode = decoder({"a b": Type.INT64, "class": Type.STRING, "f0": Type.BOOL}, "json")
    assert decode(b'{"new": {"deep": [1, {}]}, "class": "x"}') == (None, "x", None)
    assert decode(b'{"a b": 3, "f0": true, "class": null}') == (3, None, True)


def test_numbers_and_times_become_what_the_platform_holds() -> None:
    decode = decoder({"f": Type.FLOAT64, "t": Type.TIMESTAMP}, "json")
    assert same(decode(b'{"f": 3, "t": 5}'), (3.0, 5))
    assert same(decode(b'{"f": -0.0, "t": "2013-01-01"}'), (0.0, 1_356_998_400_000_000))
    assert same(decode(b'{"t": "2013-01-01T01:00:00.5+01:00"}'), (None, 1_356_998_400_500_000))
    assert decoder({"f": Type.FLOAT64}, "msgpack")(msgspec.msgpack.encode({"f": math.nan})) == (None,)


@pytest.mark.parametrize(("data", "said"), [
    (b'{"i": 1.0}', "the field 'i' is 1.0, which is not int64. Send a whole number of 64 bits, or null."),
    (b'{"i": "1"}', "the field 'i' is '1', which is not int64."),
    (b'{"i": true}', "the field 'i' is True, which is not int64."),
    (b'{"i": 9223372036854775808}', "the field 'i' is 9223372036854775808, which is not int64."),
    (b'{"f": "1"}', "the field 'f' is '1', which is not float64. Send a number, or null."),
    (b'{"b": 1}', "the field 'b' is 1, which is not bool. Send true or false, or null."),
    (b'{"s": 1}', "the field 's' is 1, which is not string. Send a text, or null."),
    (b'{"t": "yesterday"}', "the field 't' is 'yesterday', which is not timestamp. Send a time (ISO 8601,"),
    (b'{"s": ["' + b"x" * 200 + b'"]}', "xxx…, which is not string"),
    (b"[1]", "an event is an object, not [1]. Send the fields i, f, b, s, t."),
    (b'{"i": 1', "an event is not json: Input data was truncated. It begins with b'{\"i\": 1'."),
    (b"", "an event is not json"),
    (b'{"x":' * 100_000, "an event is not json: it is nested too deep."),
    (b'{"s": "' + b"x" * MOST_BYTES + b'"}', "an event has 1048585 bytes (accepted: 1048576)."),
])
def test_what_is_wrong_is_named(data: bytes, said: str) -> None:
    with pytest.raises(Invalid) as e:
        decoder(SCHEMA, "json")(data)
    assert said in str(e.value)


def test_a_header_that_was_asked_for_must_be_there() -> None:
    for data in (b"", b"\x00\x00", b"\x01\x00\x00\x00\x01" + b"\x00" * 5):
        with pytest.raises(Invalid, match="not with the header of avro-confluent"):
            decoder(SCHEMA, CONFLUENT)(data)


def test_an_encoder_refuses_what_could_not_be_read_back() -> None:
    for format in FORMATS:
        encode = encoder(SCHEMA, format)
        with pytest.raises(Invalid, match=r"there is no field 'ii' \(accepted: i, f, b, s, t\)"):
            encode({"ii": 1})
        with pytest.raises(Invalid, match="the field 'i' is 'x', which is not int64"):
            encode({"i": "x"})
        with pytest.raises(Invalid, match="not Unicode"):
            encode({"s": "\ud800"})
        with pytest.raises(Invalid, match="bytes"):
            encode({"s": "x" * MOST_BYTES})
    with pytest.raises(Invalid, match="which JSON cannot hold"):
        encoder(SCHEMA, "json")({"f": math.inf})
    assert decoder(SCHEMA, "avro")(encoder(SCHEMA, "avro")({"f": -math.inf}))[1] == -math.inf


def test_formats_and_names_are_checked_before_the_first_event() -> None:
    with pytest.raises(Invalid, match=r"no format 'jsn' for events \(have: json, msgpack, avro, avro-confluent\)\. Did you mean 'json'"):
        decoder(SCHEMA, "jsn")
    with pytest.raises(Invalid, match="have: json, msgpack, avro"):
        encoder(SCHEMA, CONFLUENT)
    for make in (decoder, encoder):
        with pytest.raises(Invalid, match="the column 'a b' cannot be a field in Avro"):
            make({"a b": Type.INT64}, "avro")


ODD = [b"", b"{", b"{}", b"{},{}", b"}{", b'{"f": 1', b"2}", b'{"f": [1', b"2]}", b"[{}]", b"null", b" {} ", b"{}{}", b"\n{}\n",
       b'{"f": -0.0}', b'{"f": 0}', b'{"f": null}', b'{"f": "1"}', b'{"f": 2.5, "f": 3.5}', b'{"t": "2026-01-01T00:00:00Z"}',
       b'{"t": "never"}', b'{"t": 5}', b'{"i": 9223372036854775808}', b'{"s": "\\ud800"}', b'{"s": "\xff"}', b'{"s": "\n"}',
       b'{"s": "a\\u0000b", "b": true, "i": -1}', b'{"f": 1e999}', b"\xef\xbb\xbf{}", b'{"x": "' + b"y" * MOST_BYTES + b'"}']


@pytest.mark.parametrize("format", ["json", "msgpack", "avro", "avro-confluent"])
@pytest.mark.parametrize("seed", range(8))
def test_many_at_once_are_what_each_is_by_itself(format: str, seed: int) -> None:
    schema = {"f": Type.FLOAT64, "t": Type.TIMESTAMP, "i": Type.INT64, "s": Type.STRING, "b": Type.BOOL}
    chance = random.Random(seed)
    good: list[bytes] = [b'{"f": 1.5}', b'{"t": 7, "s": "a"}'] if format == "json" else []
    if format == "msgpack":
        good = [msgspec.msgpack.encode(e) for e in ({"f": math.nan}, {"f": -0.0}, {"f": math.inf}, {"t": 1}, {"s": "x", "i": 2})]
    data = good * 3 + (chance.choices(ODD, k=chance.randrange(9)) if seed else [])
    if 0 < seed < 4:
        # odd ones that are events, among which no other hides
        data = [d for d in data if not isinstance(_alone(schema, format, d), Invalid) and b"T00" not in d]
    chance.shuffle(data)
    expected = [_alone(schema, format, each) for each in data]
    columns, wrong = columns_decoder(schema, format)(data)
    assert {i: str(e) for i, e in wrong.items()} == {i: str(e) for i, e in enumerate(expected) if isinstance(e, Invalid)}
    assert [len(values) for values in columns] == [len(data) - len(wrong)] * len(schema)
    assert repr(list(zip(*columns, strict=True))) == repr([e for e in expected if not isinstance(e, Invalid)])


def _alone(schema: dict[str, Type], format: str, data: bytes) -> Any:
    try:
        return decoder(schema, format)(data)
    except Invalid as e:
        return e
