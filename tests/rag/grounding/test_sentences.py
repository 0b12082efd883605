from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import anything

from fivefold.rag.grounding.sentences import sentences, sentences_so_far


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith et al. measured 3.5 mg (e.g. daily). It fell.", ["Dr. Smith et al. measured 3.5 mg (e.g. daily).", "It fell."]),
        ("J. S. Bach wrote it. The end.", ["J. S. Bach wrote it.", "The end."]),
        ("In the U.S. Army. We met.", ["In the U.S. Army.", "We met."]),
        ("Vitamin C. The rest.", ["Vitamin C.", "The rest."]),
        ("\"Was it?\" he asked. Yes.", ["\"Was it?\" he asked.", "Yes."]),
        ("It was. [1] So it is [2]. [3][4] Last", ["It was. [1]", "So it is [2]. [3][4]", "Last"]),
        ("- a b\n- c d\n1. First\n2. Second", ["- a b", "- c d", "1. First", "2. Second"]),
        ("# Head\nBody text\ngoes on.", ["# Head", "Body text\ngoes on."]),
        ("Run `a. B` now. Then:\n```\nx. Y\n\nz\n```\nDone.", ["Run `a. B` now.", "Then:", "```\nx. Y\n\nz\n```", "Done."]),
        ("| a. B | c |\n| d | e |", ["| a. B | c |", "| d | e |"]),
        ("No blank\n\nno stop", ["No blank", "no stop"]),
        ("日本。語だ。", ["日本。", "語だ。"]),
        ("Use v1.2.3 of a.b.c. Good.", ["Use v1.2.3 of a.b.c.", "Good."]),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@settings(deadline=None)
@given(anything)
def test_nothing_but_white_space_lies_between_sentences(text: str) -> None:
    at = 0
    for start, end in sentences(text):
        assert not text[at:start].strip()
        assert text[start:end].strip() == text[start:end] != ""
        at = end
    assert not text[at:].strip()


@settings(deadline=None)
@given(anything, st.data())
def test_what_is_decided_on_a_prefix_stays(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    early = sentences_so_far(text[:cut])
    assert early == sentences(text)[: len(early)]


def test_a_growing_text_is_decided_as_soon_as_the_next_sentence_begins() -> None:
    assert sentences_so_far("One is here. Two") == ((0, 12),)
    assert sentences_so_far("One is here. ") == ()
    assert sentences_so_far("One is here. [1") == ()
