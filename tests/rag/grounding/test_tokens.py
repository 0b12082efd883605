from __future__ import annotations

import pytest
from hypothesis import given, settings
from texts import anything

from fivefold.rag.grounding.stems import stem
from fivefold.rag.grounding.tiling import tiles
from fivefold.rag.grounding.tokens import Kind, tokens


def norms(text: str) -> list[str]:
    return [t.norm for t in tokens(text)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234", "1234"), ("1.50", "1.5"), ("50 %", "fifty percent"), ("50%", "50 per cent"), ("twenty-two", "22"), ("two", "2"),
        ("3 million", "3,000,000"), ("two hundred", "200"), ("12 March 2013", "2013-03-12"), ("March 12th, 2013", "12 Mar 2013"),
        ("didn't", "did not"), ("cannot", "can not"), ("age-matched", "age matched"), ("10ms", "10 milliseconds"),
        ("≥ 5", ">= 5"), ("−5 °", "-5 °"), ("ﬁle", "file"), ("é", "e\u0301"), ("increases", "rising"), ("2nd", "second"), ("1\u202f234", "1,234"),
    ],
)  # fmt: skip
def test_equal_things_compare_equal(one: str, other: str) -> None:
    assert norms(one) == norms(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234", "1.234"), ("10²", "102"), ("1½", "11/2"), ("-5", "5"), ("5 mg", "5 g"), ("IL-6", "IL-8"), ("p < 5", "p > 5"),
        ("increased", "decreased"), ("is", "is not"), ("v1.2", "v1.3"), ("0.05", "0.5"), ("first", "last"), ("12:30", "12:31"),
        ("US", "us"), ("able", "unable"), ("2013-03-12", "2013-03-13"), ("12 %", "12"),
    ],
)  # fmt: skip
def test_other_things_do_not(one: str, other: str) -> None:
    assert norms(one) != norms(other)


@settings(deadline=None)
@given(anything)
def test_tokens_lie_in_order_in_the_text(text: str) -> None:
    at = 0
    for token in tokens(text):
        assert at <= token.start < token.end <= len(text)
        assert token.norm
        at = token.end


def test_codes_names_and_units_are_told_apart() -> None:
    kinds = {t.norm: t.kind for t in tokens("In Oslo `serve` took 5 ms for late@champion of v1.2")}
    assert kinds["oslo"] == kinds["serve"] == kinds["late@champion"] == kinds["v1.2"] == Kind.NAME
    assert kinds["ms"] == Kind.UNIT


@pytest.mark.parametrize(("word", "root"), [("patients", "patient"), ("studies", "study"), ("stopped", "stop"), ("rising", "ris"), ("rise", "ris"), ("class", "class"), ("is", "is"), ("boxes", "box")])
def test_endings_are_left_out(word: str, root: str) -> None:
    assert stem(word) == root


def test_the_longest_run_is_laid_first_and_each_token_once() -> None:
    found = tiles("abcxab", "abyabc")
    assert found == ((0, 3, 3), (4, 0, 2))
