from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.types import Type
from fivefold.features.entity_keys import LONGEST, key_bytes, key_reader

VALUES = {
    Type.INT64: st.integers(-(2**63), 2**63 - 1),
    Type.FLOAT64: st.floats(allow_nan=False),
    Type.BOOL: st.booleans(),
    Type.STRING: st.text(max_size=400),
    Type.TIMESTAMP: st.integers(-(2**63), 2**63 - 1),
}


@st.composite
def two_keys(draw: st.DrawFn) -> tuple[list[Type], list[Any], list[Any]]:
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3))
    one, other = ([draw(VALUES[k]) for k in kinds] for _ in range(2))
    return kinds, one, draw(st.sampled_from([one, other]))


@given(two_keys())
def test_equal_keys_have_equal_bytes_and_others_have_others(given: tuple[list[Type], list[Any], list[Any]]) -> None:
    kinds, one, other = given
    read = key_reader(kinds)
    assert (read(one) == read(other)) == (one == other)


@given(st.lists(st.text(max_size=9), min_size=1, max_size=3), st.lists(st.text(max_size=9), min_size=1, max_size=3))
def test_where_one_key_column_ends_and_the_next_begins_is_part_of_the_key(one: list[str], other: list[str]) -> None:
    assert (key_bytes(one) == key_bytes(other)) == (one == other)


def test_a_whole_number_is_the_same_key_as_its_float_where_the_column_is_a_float() -> None:
    read = key_reader([Type.FLOAT64])
    assert read([2]) == read([2.0])
    assert read([0.0]) == read([-0.0])
    assert key_reader([Type.INT64])([2]) != read([2])


def test_a_null_anywhere_makes_no_key() -> None:
    read = key_reader([Type.STRING, Type.FLOAT64])
    assert read([None, 1.0]) is None
    assert read(["a", None]) is None
    assert read(["", 0.0]) is not None


def test_a_long_key_becomes_a_short_one_that_no_other_key_has() -> None:
    whole = [1, "x" * (LONGEST - 4)]
    assert len(key_bytes(whole)) == LONGEST
    assert key_bytes(whole).endswith(b"xxx")
    found = {key_bytes([1, "x" * n]) for n in range(LONGEST - 3, LONGEST + 50)}
    assert len(found) == 53
    assert {len(k) for k in found} == {33}
    assert {k[0] for k in found} == {0xC1}
