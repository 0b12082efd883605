from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import anything, facts

from fivefold.core.errors import Invalid
from fivefold.rag.grounding.answers import final, stream, whole
from fivefold.rag.grounding.passages import Passage
from fivefold.rag.grounding.verify import State, verify

PASSAGES = [Passage("a.md", "a1", "It is free. It takes 5 days. Run:\n```\nfivefold serve\n```\n"), Passage("b.md", "b1", "See [serving](docs/serving.md). Look at ![x](http://evil.example/x.png) now.")]


def test_dropped_text_is_gone_and_marked_text_says_why() -> None:
    said = "It is free. It takes 6 days. It takes 5 days. [2]"
    assert final(said, PASSAGES).text == "It is free. [1] It takes 5 days. [1]"
    assert final(said, PASSAGES, "mark").text == "It is free. [1] It takes 6 days. [unsupported] It takes 5 days. [1]"
    assert [c.state for c in final(said, PASSAGES).checked] == [State.SUPPORTED, State.UNSUPPORTED, State.MISATTRIBUTED]


@settings(deadline=None)
@given(st.lists(facts().map(lambda f: f[0]), min_size=1, max_size=5), st.lists(facts().map(lambda f: f[0]), max_size=3))
def test_what_was_let_through_once_is_let_through_as_it_is(parts: list[str], written: list[str]) -> None:
    passages = [Passage("d", str(i), t) for i, t in enumerate([parts[0], *written])]
    once = final(" ".join(parts), passages)
    assert once.text
    assert final(once.text, passages).text == once.text


def test_a_citation_behind_code_stands_on_its_own_line() -> None:
    assert final("```\nfivefold serve\n```", PASSAGES).text == "```\nfivefold serve\n```\n[1]"


@settings(deadline=None)
@given(st.lists(st.one_of(facts().map(lambda f: f[0]), anything), min_size=1, max_size=4), st.lists(facts(), max_size=3), st.sampled_from(["drop", "mark"]), st.data())
def test_a_streamed_answer_is_the_whole_one_and_offsets_stay(parts: list[str], more: list[tuple[str, int, str, bool]], policy: str, data: st.DataObject) -> None:
    answer = " ".join(parts)
    passages = [Passage("d", "1", parts[0]), Passage("d", "2", " ".join(t for t, *_ in more))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=8)))
    texts = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    at_once = final(answer, passages, policy)  # type: ignore[arg-type]
    shown, citations = "", []
    for piece in stream(texts, passages, policy):  # type: ignore[arg-type]
        shown += piece.text
        citations += piece.citations
        for c in citations:
            assert shown[c.start : c.end] == f"[{c.number}]"
    assert (shown, tuple(citations)) == (at_once.text, at_once.citations)
    assert at_once.checked == verify(answer, passages)
    assert whole(stream(texts, passages, policy)) == at_once  # type: ignore[arg-type]
    for c in citations:
        source = passages[c.number - 1]
        assert c.quote.passage == source.id
        assert source.text[c.quote.start : c.quote.end].strip()
        assert shown[c.sentence_start : c.sentence_end].strip()


def test_a_sentence_is_out_before_the_answer_is_complete() -> None:
    def writing():  # type: ignore[no-untyped-def]
        yield "It is free. It ta"
        raise RuntimeError("still writing")

    assert next(stream(writing(), PASSAGES)).text == "It is free. [1]"


@pytest.mark.parametrize("policy", ["drop", "mark"])
@pytest.mark.parametrize(
    "said",
    [
        "Look at ![x](http://evil.example/x.png) now.", "See [this](https://evil.example/?q=secret).", "See [this](//evil.example/x).",
        "See www.evil.example for more.", "See <img src=x>.", "Click [me](javascript:alert).", "See [a][b].", "[b]: evil.example/x.",
        "It is http:\\/\\/evil.example now.", "See ![a][1] there.", "Hidden \u202etext\u202c here.", "See [[1]this](//evil.example/x).",
    ],
)  # fmt: skip
def test_images_and_links_that_lead_out_are_withheld_even_when_a_passage_has_them(said: str, policy: str) -> None:
    answer = final(f"{said} It is free.", [*PASSAGES, Passage("c.md", "c1", said)], policy)  # type: ignore[arg-type]
    assert answer.text == "It is free. [1]"


def test_links_to_places_of_the_same_site_are_kept() -> None:
    assert final("See [serving](docs/serving.md).", PASSAGES).text == "See [serving](docs/serving.md). [2]"


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(Invalid, match="drop, mark"):
        final("x", [], "keep")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a " * 3000, "a" + ":" * 3000 + "!", "`a " * 2000, "(" * 3000, "1e9999999 million 5", "[" * 3000, "word other " * 2000, "one more. " * 800])
def test_a_text_made_to_take_long_does_not(text: str) -> None:
    began = time.process_time()
    final(text, [Passage("d", "p", text)])
    assert time.process_time() - began < 5
