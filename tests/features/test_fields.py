from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.core.errors import Invalid
from fivefold.core.types import Type
from fivefold.features.fields import accepted, shown

FIELDS = {"i": Type.INT64, "f": Type.FLOAT64, "b": Type.BOOL, "s": Type.STRING, "t": Type.TIMESTAMP}
ROW = {"i": 1, "f": 1.5, "b": True, "s": "x", "t": 0}


def test_values_become_what_features_hold() -> None:
    assert accepted({"i": 7, "f": 2, "b": False, "s": "", "t": "2013-01-01T01:00:00+01:00"}, FIELDS) == {
        "i": 7, "f": 2.0, "b": False, "s": "", "t": 1_356_998_400_000_000}
    found = accepted({**ROW, "f": -0.0}, FIELDS)["f"]
    assert str(found) == "0.0"
    assert type(accepted({**ROW, "f": 2}, FIELDS)["f"]) is float


def test_null_is_accepted_for_every_field() -> None:
    nothing = dict.fromkeys(FIELDS)
    assert accepted(nothing, FIELDS) == nothing


@pytest.mark.parametrize(("field", "value", "is_not"), [
    ("i", 1.0, "int64"), ("i", True, "int64"), ("i", "1", "int64"), ("i", 2**63, "int64"), ("i", [], "int64"),
    ("f", "1", "float64"), ("f", False, "float64"), ("f", 10**400, "float64"), ("f", {}, "float64"),
    ("b", 1, "bool"), ("b", "true", "bool"), ("s", 1, "string"), ("s", ["x"], "string"),
    ("t", "yesterday", "timestamp"), ("t", 1.5, "timestamp"), ("t", -(2**63) - 1, "timestamp"), ("t", "", "timestamp"),
])
def test_a_value_of_another_type_names_field_value_and_what_is_accepted(field: str, value: Any, is_not: str) -> None:
    with pytest.raises(Invalid) as e:
        accepted({**ROW, field: value}, FIELDS)
    assert e.value.message == f"the field {field!r} is {shown(value)}, which is not {is_not}."
    assert e.value.hint.startswith("Send ")


def test_a_missing_field_names_all_that_are_needed() -> None:
    with pytest.raises(Invalid, match=r"the field 'f' is missing\. Send all of: i, f, b, s, t\."):
        accepted({k: v for k, v in ROW.items() if k != "f"}, FIELDS)


def test_an_unknown_field_names_the_nearest_one() -> None:
    fields = {"distance": Type.INT64}
    with pytest.raises(Invalid, match=r"there is no field 'distanse' \(accepted: distance\)\. Did you mean 'distance'"):
        accepted({"distance": 1, "distanse": 2}, fields)


def test_a_message_stays_short_whatever_was_sent() -> None:
    for row in ({**ROW, "s": ["x" * 10**6]}, {**ROW, "y" * 10**6: 1}, "z" * 10**6):
        with pytest.raises(Invalid) as e:
            accepted(row, FIELDS)
        assert len(str(e.value)) < 400


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("ifbstu"), inner), max_leaves=8))
def test_anything_else_is_refused_as_invalid(row: Any) -> None:
    try:
        found = accepted(row, FIELDS)
    except Invalid:
        return
    assert isinstance(row, dict)
    assert set(row) == set(found) == set(FIELDS)
