import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.canonical import canonical, digest
from fivefold.core.errors import Invalid

# RFC 8785, appendix B: IEEE 754 bits and their serialisation
NUMBERS = [
    ("0000000000000000", "0"), ("8000000000000000", "0"), ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"), ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"), ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"), ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"), ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"), ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"), ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"), ("becbf647612f3696", "-0.0000033333333333333333"),
]


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_are_written_as_the_rfc_says(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value) == text.encode()


def test_keys_are_sorted_by_utf16_and_strings_escaped_as_the_rfc_says() -> None:
    value = {"€": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
             "😀": "Emoji: Grinning Face", "\x80": "Control", "ö": "Latin Small Letter O With Diaeresis"}
    keys = list(json.loads(canonical(value)))
    assert keys == ["\r", "1", "\x80", "ö", "€", "😀", "\ufb33"]
    assert canonical("€$\x0f\nA'B\"\\\\\"/") == b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_the_same(value: float) -> None:
    assert float(json.loads(canonical(value))) == value


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_equal_values_have_equal_digests_whatever_the_order_of_keys(value: object) -> None:
    def turned(v: object) -> object:
        if isinstance(v, dict):
            return {k: turned(v[k]) for k in reversed(list(v))}
        return [turned(x) for x in v] if isinstance(v, list) else v
    assert digest("t", value) == digest("t", turned(value))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1, "\ud800", {1, 2}, b"x"])
def test_what_has_no_exact_form_is_refused(value: object) -> None:
    with pytest.raises(Invalid, match="cannot digest"):
        canonical(value)  # type: ignore[arg-type]


def test_the_kind_is_part_of_the_digest() -> None:
    assert digest("a", 1) != digest("b", 1)
    assert digest("a", 1) != digest("a", "1")
    assert digest("a", 1) == digest("a", 1.0)
