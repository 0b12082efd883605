"""Answers made of quotes alone: the sentences of the passages that say most of what was asked, as they are written.

Nothing in a passage is followed, only quoted; so a passage can lie, but it cannot command.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from fivefold.rag.grounding import calibrated
from fivefold.rag.grounding.answers import Answer, Piece, placed, whole
from fivefold.rag.grounding.citations import cited
from fivefold.rag.grounding.harmless import addresses_a_model, harmless
from fivefold.rag.grounding.passages import Evidence, Passage, Span, read
from fivefold.rag.grounding.tokens import counted
from fivefold.rag.grounding.verify import Checked, State

DONT_KNOW = "I don't know."
"""The answer when the passages do not say enough."""

_K1, _B = 1.2, 0.75
"""BM25's usual constants (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009), over sentences."""

_AROUND = 0.5
"""How much the sentences beside it count in a sentence's score: what it is about is often said in the one before."""

_FEWEST = 3
"""Words a quote must have, so that headings and the first rows of tables are not taken for answers."""

_NEARLY = 0.7
"""The share of the best sentence's own score that another must have to be quoted with it."""


class Extracted(msgspec.Struct, frozen=True):
    """An answer made of quotes, and `evidence`: the share of what was asked that three
    sentences in a row speak of, 0 to 1."""

    answer: Answer
    evidence: float

    @property
    def known(self) -> bool:
        """Whether anything is answered."""
        return bool(self.answer.checked)


def extract(
    question: str, passages: Sequence[Passage], *, most: int = 3, least_evidence: float = calibrated.EVIDENCE
) -> Extracted:
    """Answer a question with at most `most` sentences of the passages, best first; "I don't know." of thin evidence.

    A word of the question weighs the more, the fewer sentences have it. `passages` are in the order of their rank,
    which breaks ties. Sentences that ask, that would render an image or a foreign link, that carry marks of citations
    or read as orders to a model are never quoted.

    >>> passages = [Passage("a.md", "a.md#1", "A refund takes 5 days. We like dogs.")]
    >>> extract("How long does a refund take?", passages).answer.text
    'A refund takes 5 days. [1]'
    """
    evidence = Evidence(passages)
    words = _words(question, evidence)
    total = sum(word.weight for word in words)
    spans = [s for s in evidence.spans if _quotable(passages[s.passage - 1].text[s.start : s.end], s)]
    if not spans or not total:
        return Extracted(Answer(DONT_KNOW, (), ()), 0.0)
    around = [_around(spans, at, words) / total for at in range(len(spans))]
    best = max(around)
    if best < least_evidence or not best:
        return Extracted(Answer(DONT_KNOW, (), ()), best)
    usual = sum(len(s.read.tokens) for s in spans) / len(spans)
    own = [_score(span, words, usual) / total for span in spans]
    ranked = sorted(range(len(spans)), key=lambda at: (-own[at] - _AROUND * around[at], at))
    chosen: list[Span] = []
    for at in ranked:
        # a neighbour of the best sentence is not an answer for that alone
        near = own[at] >= _NEARLY * own[ranked[0]]
        if len(chosen) < most and near and not any(_same(spans[at], other) for other in chosen):
            chosen.append(spans[at])
    return Extracted(whole(_pieces(chosen, evidence)), best)


class _Word(msgspec.Struct, frozen=True):
    """A word of the question: the ways in which it may stand in a sentence, and how much it counts."""

    forms: frozenset[str]
    weight: float


def _words(question: str, evidence: Evidence) -> tuple[_Word, ...]:
    """The words of a question, each once. Two that follow each other may be written as one: `roll back`, `rollback`."""
    asked = read(question).tokens
    forms: dict[str, set[str]] = {}
    for at in counted(asked):
        norm = asked[at].norm
        before, behind = asked[at - 1].norm if at else "", asked[at + 1].norm if at + 1 < len(asked) else ""
        forms.setdefault(norm, {norm}).update({before + norm, norm + behind})
    sentences = len(evidence.spans)
    return tuple(
        _Word(frozenset(forms[norm]), math.log(1 + (sentences + 1) / (evidence.hits(forms[norm]).total() + 1)))
        for norm in sorted(forms)
    )


def _around(spans: Sequence[Span], at: int, words: Sequence[_Word]) -> float:
    """The weight of the words that a sentence or one beside it in its passage has."""
    near = [s for s in spans[max(0, at - 1) : at + 2] if s.passage == spans[at].passage]
    norms = {t.norm for s in near for t in s.read.tokens}
    return sum(word.weight for word in words if not word.forms.isdisjoint(norms))


def _score(span: Span, words: Sequence[_Word], usual: float) -> float:
    """BM25 of a sentence; `usual` is the length of one, in tokens."""
    norms = [t.norm for t in span.read.tokens]
    slack = _K1 * (1 - _B + _B * len(norms) / usual)
    times = [(sum(n in word.forms for n in norms), word.weight) for word in words]
    return sum(weight * count / (count + slack) for count, weight in times)


def _quotable(text: str, span: Span) -> bool:
    return (
        len(counted(span.read.tokens)) >= _FEWEST
        and not span.read.asks
        and not text.startswith("#")
        and not cited(text)
        and harmless(text)
        and not addresses_a_model(text)
    )


def _same(one: Span, other: Span) -> bool:
    return [t.norm for t in one.read.tokens] == [t.norm for t in other.read.tokens]


def _pieces(chosen: Sequence[Span], evidence: Evidence) -> list[Piece]:
    pieces: list[Piece] = []
    shown, before = 0, ""
    for span in chosen:
        text = evidence.passages[span.passage - 1].text[span.start : span.end]
        # what stands on lines of its own must go on doing so, and what ends without a full stop must not run on
        apart = text[0] in "#|->*`" or "\n" in text or not before.endswith((".", "!"))
        gap = ("\n\n" if apart else " ") if shown else ""
        before = text
        start = shown + len(gap)
        proof = (evidence.quote(span),)
        checked = Checked(start, start + len(text), State.SUPPORTED, (span.passage,), (span.passage,), proof)
        pieces.append(placed(text, gap, shown, checked))
        shown += len(pieces[-1].text)
    return pieces
