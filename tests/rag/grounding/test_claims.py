from __future__ import annotations

import pytest

from fivefold.rag.grounding.claims import Claims, claims


def of(text: str, kind: Claims) -> list[str]:
    return [c.value for c in claims(text) if c.kind is kind]


def test_numbers_have_their_units() -> None:
    assert of("It took 1,500 ms, two days and 5.0 % of 20.", Claims.NUMBER) == ["1500 ms", "2 day", "5 %", "20"]


def test_dates_names_and_directions_are_found() -> None:
    text = "On 3 May 2020 the load in Oslo of late@champion was higher."
    assert of(text, Claims.DATE) == ["2020-05-03"]
    assert of(text, Claims.NAME) == ["oslo", "late@champion"]
    assert of(text, Claims.DIRECTION) == ["greater"]


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("It did not rise, but fell.", " rise,"),
        ("No deaths, relapses or infections occurred.", " deaths, relapses or infections occurred"),
        ("It never stops; it is fast.", " stops"),
        ("It may help.", " help"),
    ],
)
def test_a_negation_reaches_to_a_contrast_not_to_a_comma(text: str, scope: str) -> None:
    (found,) = [c for c in claims(text) if c.kind in (Claims.NEGATION, Claims.DOUBT)]
    assert text[found.end : found.scope_end] == scope.rstrip(",")


def test_claims_slice_back_to_where_they_stand() -> None:
    text = "Ⅳ — It isn’t 5 % in Zürich."
    assert [text[c.start : c.end] for c in claims(text) if c.kind is Claims.NUMBER][-1] == "5 %"
    assert "Zürich" in [text[c.start : c.end] for c in claims(text)]
