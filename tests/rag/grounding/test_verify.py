from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from texts import NAMES, anything, facts

from fivefold.rag.grounding.passages import Passage, read
from fivefold.rag.grounding.sentences import sentences
from fivefold.rag.grounding.tokens import tokens
from fivefold.rag.grounding.verify import Checked, State, verify


def passage(text: str, name: str = "p") -> Passage:
    return Passage("doc", name, text)


def one(answer: str, *texts: str) -> Checked:
    (checked,) = verify(answer, [passage(t, f"p{i}") for i, t in enumerate(texts, 1)])
    return checked


TRIAL = "The drug did not improve survival in 30 % of 120 mice. It was given for 3 days in Boston. The dose was higher (5 mg) than before."
FLEET = "The fleet grew by 1,200 cars in 2013. If the owner agrees, an endpoint is removed. No deaths, relapses or infections occurred."


@settings(deadline=None)
@given(anything, st.data())
def test_a_verbatim_quote_is_always_supported_and_its_offsets_give_it_back(text: str, data: st.DataObject) -> None:
    spans = [(a, b) for a, b in sentences(text) if tokens(text[a:b])]
    assume(spans)
    start, end = data.draw(st.sampled_from(spans))
    quoted = text[start:end]
    assume(len(sentences(quoted)) == 1 and "[" not in quoted)
    checked = one(quoted, "Something else. Another.", text)
    assert checked.state is State.SUPPORTED
    written = {q.passage: text[q.start : q.end] for q in checked.quotes}["p2"]
    assert [t.norm for t in read(written).tokens] == [t.norm for t in read(quoted).tokens]


@settings(deadline=None)
@given(facts(), st.lists(facts(), max_size=3), st.integers(2, 9999))
def test_an_altered_number_is_never_supported(fact: tuple[str, int, str, bool], more: list[tuple[str, int, str, bool]], other: int) -> None:
    text, number, _, _ = fact
    assume(other != number and all(other != n for _, n, _, _ in more))
    checked = one(text.replace(f"{number} days", f"{other} days"), " ".join([text, *(t for t, *_ in more)]))
    assert checked.state is not State.SUPPORTED


@settings(deadline=None)
@given(facts(), st.sampled_from(NAMES), st.booleans())
def test_a_swapped_name_is_never_supported(fact: tuple[str, int, str, bool], other: str, elsewhere: bool) -> None:
    text, _, name, _ = fact
    assume(other != name)
    more = f" Nothing came from {other}." if elsewhere else ""
    assert one(text.replace(name, other), text + more).state is not State.SUPPORTED


@settings(deadline=None)
@given(facts())
def test_a_dropped_or_added_negation_is_never_supported(fact: tuple[str, int, str, bool]) -> None:
    text, _, _, denied = fact
    turned = text.replace("did not", "did") if denied else text.replace("did", "did not")
    assert one(turned, text).state is not State.SUPPORTED


@settings(deadline=None)
@given(facts(), st.sampled_from([("", ""), ("According to the documentation, the", "The"), ("the", "The")]))
def test_the_same_said_with_a_frame_or_other_spelling_is_supported(fact: tuple[str, int, str, bool], frame: tuple[str, str]) -> None:
    text, number, _, _ = fact
    said = text.replace("did not", "didn't").replace(f"{number} days", f"{number:,} days")
    if frame[0]:
        said = said.replace(frame[1], frame[0], 1)
    assert one(said, text).state is State.SUPPORTED


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("The drug didn't improve survival in thirty percent of 120 mice.", State.SUPPORTED),
        ("The drug improved survival in 30 % of 120 mice.", State.UNSUPPORTED),
        ("The drug did not improve survival in 30 of 120 mice.", State.UNSUPPORTED),
        ("The drug did not improve survival in 120 % of 30 mice.", State.UNSUPPORTED),
        ("It was given for 3 days in Chicago.", State.UNSUPPORTED),
        ("The dose was higher than before.", State.SUPPORTED),
        ("The dose was lower than before.", State.UNSUPPORTED),
        ("The fleet grew by 1200 cars in 2013.", State.SUPPORTED),
        ("An endpoint is removed.", State.UNSUPPORTED),
        ("Infections occurred.", State.UNSUPPORTED),
        ("The fleet grew by 1,200 cars and was given for 3 days in Boston.", State.STITCHED),
        ("Bananas are yellow.", State.UNSUPPORTED),
        ("It is.", State.UNSUPPORTED),
        ("???", State.UNSUPPORTED),
    ],
)
def test_what_is_said_is_held_against_what_is_written(said: str, state: State) -> None:
    assert one(said, TRIAL, FLEET).state is state


def test_groups_that_changed_places_are_not_supported() -> None:
    text = "There were 15 patients in the treated group and 30 patients in the placebo group."
    assert one("There were 30 patients in the treated group and 15 patients in the placebo group.", text).state is State.UNSUPPORTED


def test_a_question_states_nothing() -> None:
    assert one("The drug improves survival.", "Does it hold that the drug improves survival?").state is State.UNSUPPORTED


def test_a_wrong_citation_is_misattributed_and_the_right_passage_named() -> None:
    checked = one("It was given for 3 days in Boston. [2]", TRIAL, FLEET)
    assert (checked.state, checked.cited, checked.proving) == (State.MISATTRIBUTED, (2,), (1,))
    assert TRIAL[checked.quotes[0].start : checked.quotes[0].end] == "It was given for 3 days in Boston."
    assert one("It was given for 3 days in Boston. [7]", TRIAL, FLEET).state is State.MISATTRIBUTED


def test_of_several_citations_those_that_say_it_are_named() -> None:
    checked = one("It was given for 3 days in Boston. [2][3][1]", TRIAL, FLEET, TRIAL)
    assert (checked.state, checked.proving) == (State.SUPPORTED, (3, 1))


def test_the_parts_of_a_stitched_sentence_are_quoted() -> None:
    checked = one("The fleet grew by 1,200 cars and was given for 3 days in Boston.", TRIAL, FLEET)
    assert {q.passage for q in checked.quotes} == {"p1", "p2"}


def test_what_is_not_said_is_told() -> None:
    assert one("It was given for 4 days in Boston.", TRIAL).reasons == ("'4' is not said so",)


def test_without_passages_nothing_is_supported() -> None:
    assert [c.state for c in verify("One is here. Two.", [])] == [State.UNSUPPORTED] * 2


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Canaries take 10 % of requests, and shadows take all of them.", "Canaries take all of them."),
        ("Admins can delete endpoints; viewers can only read them.", "Viewers can delete endpoints."),
        ("Admins can delete endpoints; viewers can only read them.", "Admins can only read them."),
        ("Unlike version 2, version 3 supports streaming.", "Version 2 supports streaming."),
        ("Revenue rose from $3 million in 2010 to $5 million in 2012.", "Revenue rose from $5 million in 2010 to $3 million in 2012."),
        ("Neither Redis nor Kafka is required.", "Kafka is required."),
        ("It is false that Redis is required.", "Redis is required."),
        ("Critics claim that Redis is required.", "Redis is required."),
        ("Redis was thought to be required before 2010.", "Redis was required before 2010."),
        ("Alice paid Bob 5 dollars.", "Bob paid Alice 5 dollars."),
        ("Alice, who met Bob, left Oslo.", "Bob left Oslo."),
        ("A backup is taken every day, except on Sundays.", "A backup is taken every day."),
        ("Tokens expire after 30 days.", "Tokens expire after 30 hours."),
        ("Some tokens expire after 30 days.", "Tokens expire after 30 days."),
        ("Those in group A recovered, but those in group B did not.", "Those in group B did recover."),
        ("The endpoint was stopped by Carol and started by Dave.", "The endpoint was started by Carol."),
        ("Never run it as root.", "Run it as root."),
        ("The service is available in Europe and Asia but not Africa.", "The service is available in Africa."),
        ("The limit is 5 per user and 50 per project.", "The limit is 50 per user."),
        ("p < 0.05 for group A and p > 0.05 for group B.", "p < 0.05 for group B."),
        ("Version 2.1 came in May 2020 and version 2.2 in June 2021.", "Version 2.1 came in June 2021."),
        ("It costs $5.", "It costs €5."),
    ],
)
def test_words_taken_out_of_a_sentence_do_not_say_what_it_does_not(written: str, said: str) -> None:
    assert one(said, written).state is State.UNSUPPORTED
