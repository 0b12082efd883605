from __future__ import annotations

import pytest

from fivefold.catalog import bounds
from fivefold.core.errors import Invalid


@pytest.mark.parametrize("value", ["a", "é" * 125, "view.agg_column_1h", "a b/c"])
def test_names_of_up_to_250_bytes_are_accepted(value: str) -> None:
    assert bounds.name(value, "model") == value


@pytest.mark.parametrize("value", ["", "é" * 126, "a\nb", "\x00", "\x7f", "\ud800", 3, None])
def test_a_name_that_a_database_would_change_or_refuse_is_invalid(value: str) -> None:
    with pytest.raises(Invalid, match="model"):
        bounds.name(value, "model")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"x", "\ud800"])
def test_what_json_cannot_hold_is_invalid(value: object) -> None:
    with pytest.raises(Invalid, match="result"):
        bounds.document(value, "result")  # type: ignore[arg-type]


def test_a_document_keeps_floats_and_large_integers_apart() -> None:
    read = bounds.read(bounds.document({"float": 1.0, "large": 2**60 + 1, "text": "\x00é"}, "result"))
    assert read == {"float": 1.0, "large": 2**60 + 1, "text": "\x00é"}
    assert isinstance(read["float"], float)


def test_a_document_is_bounded_in_bytes_and_says_where_to_put_it_instead() -> None:
    bounds.document("é" * 40, "info", 82)
    with pytest.raises(Invalid, match="artifact"):
        bounds.document("é" * 40, "info", 81)


def test_a_circle_is_not_json() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(Invalid, match="not JSON"):
        bounds.document(circle, "info")  # type: ignore[arg-type]
