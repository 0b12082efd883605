"""The passages an answer is held against, read once: their sentences as spans, and where each word stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from fivefold.rag.grounding.agreement import Agreement, agreement
from fivefold.rag.grounding.citations import without_markers
from fivefold.rag.grounding.claims import Read, parse
from fivefold.rag.grounding.sentences import sentences

_PARENTHESES = re.compile(r"\([^()]*\)")


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document, under the names by which answers cite it."""

    document: str
    id: str
    text: str


class Quote(msgspec.Struct, frozen=True):
    """Where it is written: characters `start` to `end` of a passage's text."""

    document: str
    passage: str
    start: int
    end: int


class Span(msgspec.Struct, frozen=True):
    """One sentence of passage number `passage`, counted from 1 as citations are; `start` and `end` are in its text.

    `aside` is the sentence without what stands in parentheses, where it has any.
    """

    passage: int
    start: int
    end: int
    read: Read
    aside: Read | None = None

    def agreement(self, said: Read) -> Agreement:
        """How far it says what a sentence says, with its parentheses or without."""
        whole = agreement(said, self.read)
        if self.aside is None or (whole.coverage == 1.0 and not whole.conflicts):
            return whole
        return min(whole, agreement(said, self.aside), key=lambda a: (len(a.conflicts), -a.coverage))


class Evidence:
    """Passages as `verify` reads them; make it once to check many sentences."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = tuple(passages)
        self.spans = tuple(span for n, passage in enumerate(self.passages, 1) for span in _spans(n, passage))
        self._where: dict[str, list[int]] = {}
        for at, span in enumerate(self.spans):
            for norm in {t.norm for t in span.read.tokens}:
                self._where.setdefault(norm, []).append(at)

    def hits(self, norms: Iterable[str]) -> Counter[int]:
        """How many of these words each span has, by the span's place; spans with none are left out."""
        found: Counter[int] = Counter()
        for norm, times in Counter(norms).items():
            for at in self._where.get(norm, ()):
                found[at] += times
        return found

    def quote(self, first: Span, last: Span | None = None) -> Quote:
        """One span, or a run of them in one passage, as a quote."""
        passage = self.passages[first.passage - 1]
        return Quote(passage.document, passage.id, first.start, (last or first).end)

    def verbatim(self, said: Read) -> tuple[tuple[int, Quote], ...]:
        """Where a sentence is written word for word as one or more whole sentences: passage numbers and quotes.

        A part of a sentence is no such quote: what was left of it might have denied it.
        """
        norms = [t.norm for t in said.tokens]
        found: list[tuple[int, Quote]] = []
        for at in self._where.get(norms[0], ()) if norms else ():
            place, end = 0, at
            while end < len(self.spans) and self.spans[end].passage == self.spans[at].passage and place < len(norms):
                theirs = [t.norm for t in self.spans[end].read.tokens]
                if theirs != norms[place : place + len(theirs)]:
                    break
                place, end = place + len(theirs), end + 1
            if place == len(norms):
                found.append((self.spans[at].passage, self.quote(self.spans[at], self.spans[end - 1])))
        return tuple(found)


def read(text: str) -> Read:
    """A sentence read; marks of citations in it count as white space."""
    return parse(without_markers(text))


def _spans(number: int, passage: Passage) -> Iterable[Span]:
    for start, end in sentences(passage.text):
        whole = read(passage.text[start:end])
        kept = _PARENTHESES.sub(lambda m: " " * len(m[0]), whole.text)
        yield Span(number, start, end, whole, parse(kept) if kept != whole.text else None)
