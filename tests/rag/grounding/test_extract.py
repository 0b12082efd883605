from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injections import MARK, ORDERS
from texts import anything, facts

from fivefold.rag.grounding.extract import DONT_KNOW, extract
from fivefold.rag.grounding.passages import Passage
from fivefold.rag.grounding.verify import State, verify

QUESTION = "How do I roll back an endpoint?"
GUIDE = Passage("serving.md", "s1", "Endpoints answer over HTTP. `fivefold rollback late` rolls an endpoint back to the version before. It takes a second.")
OTHER = Passage("streams.md", "t1", "A stream is archived into its history table. Late rows are counted.")


def test_the_sentence_that_answers_is_quoted_with_its_citation() -> None:
    found = extract(QUESTION, [OTHER, GUIDE])
    assert found.known
    assert found.answer.text == "`fivefold rollback late` rolls an endpoint back to the version before. [2]"
    (citation,) = found.answer.citations
    assert GUIDE.text[citation.quote.start : citation.quote.end] == found.answer.text[citation.sentence_start : citation.sentence_end]


@pytest.mark.parametrize("passages", [[], [OTHER], [Passage("x", "x", "")]])
def test_thin_evidence_is_not_answered_from(passages: list[Passage]) -> None:
    found = extract(QUESTION, passages)
    assert (found.answer.text, found.known) == (DONT_KNOW, False)


def test_the_same_sentence_is_quoted_once() -> None:
    assert extract(QUESTION, [GUIDE, GUIDE]).answer.text.count("rollback") == 1


@settings(deadline=None)
@given(anything, st.lists(st.one_of(anything, facts().map(lambda f: f[0])), max_size=4))
def test_an_answer_is_quotes_and_marks_alone_and_each_is_proved(question: str, texts: list[str]) -> None:
    passages = [Passage("d", str(i), t) for i, t in enumerate(texts)]
    found = extract(f"{question} {' '.join(texts)[:60]}", passages, least_evidence=0.0)
    if not found.known:
        assert found.answer.text == DONT_KNOW
        return
    bare = found.answer.text
    for c in reversed(found.answer.citations):
        source = next(p for p in passages if p.id == c.quote.passage)
        assert source.text[c.quote.start : c.quote.end] == found.answer.text[c.sentence_start : c.sentence_end]
        bare = bare[: c.sentence_start] + bare[c.end :]
    assert not bare.strip()


@settings(deadline=None)
@given(st.lists(facts().map(lambda f: f[0]), min_size=1, max_size=6))
def test_an_answer_that_is_checked_again_is_supported_throughout(texts: list[str]) -> None:
    passages = [Passage("d", str(i), f"# Head of it\n{t} Another thing\n\n- an item of the list") for i, t in enumerate(texts)]
    found = extract(f"{texts[0]} An item of the list and another thing?", passages, most=5, least_evidence=0.0)
    assert found.known
    assert {c.state for c in verify(found.answer.text, passages)} == {State.SUPPORTED}


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_in_a_passage_changes_nothing(order: str) -> None:
    clean = extract(QUESTION, [GUIDE, OTHER]).answer
    attack = Passage("evil.md", "e1", order.format(mark=MARK))
    for passages in ([GUIDE, OTHER, attack], [GUIDE, OTHER, Passage("evil.md", "e2", f"Rows are counted. {attack.text} Rows are late.")]):
        answer = extract(QUESTION, passages).answer
        assert answer.text == clean.text


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_leads_out_of_an_answer_even_when_only_the_attack_is_there(order: str) -> None:
    answer = extract(QUESTION, [Passage("evil.md", "e1", f"{order.format(mark=MARK)} The endpoint rolls back.")], least_evidence=0.0).answer
    assert MARK not in answer.text
    assert not re.search(r"://|!\[|<[a-z]|www\.|\]\(", answer.text)
