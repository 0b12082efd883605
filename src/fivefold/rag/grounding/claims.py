"""What a sentence claims that must be exactly right: numbers, dates, names, directions, denials and doubts."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

import msgspec

from fivefold.rag.grounding.lexicon import CONTRASTS, DIRECTIONS, HEDGES, NEGATIONS
from fivefold.rag.grounding.tokens import Kind, Token, tokens

_PARTING = frozenset(",;:—–")


class Claims(StrEnum):
    """The kinds of claims."""

    NUMBER = "number"
    DATE = "date"
    NAME = "name"
    DIRECTION = "direction"
    NEGATION = "negation"
    DOUBT = "doubt"


class Claim(msgspec.Struct, frozen=True):
    """`text[start:end]` claims `value`, in its one way to be written; a number's has its unit: `50 %`.

    A negation or a doubt is about `text[end:scope_end]`; of other kinds `scope_end` is `end`.
    """

    kind: Claims
    value: str
    start: int
    end: int
    scope_end: int


class Read(msgspec.Struct, frozen=True):
    """A sentence that was read: its text and its tokens, whose offsets are in that text.

    `apart` are the tokens, by place, that punctuation parts from the one before: "Ada, who met Bob, left".
    """

    text: str
    tokens: tuple[Token, ...]
    apart: frozenset[int]

    @property
    def asks(self) -> bool:
        """Whether it is a question, which states nothing."""
        return self.text.rstrip(" \"'”’)").endswith(("?", "？"))

    def scope(self, cue: int) -> int:
        """The token before which the scope of a negation or doubt at token `cue` ends.

        A semicolon, a colon or a contrast ends it; a comma does not: "no deaths, relapses or infections".
        """
        for at in range(cue + 1, len(self.tokens)):
            between = self.text[self.tokens[at - 1].end : self.tokens[at].start]
            if self.tokens[at].norm in CONTRASTS or ";" in between or ":" in between:
                return at
        return len(self.tokens)


def parse(text: str) -> Read:
    """Read a sentence."""
    found = tokens(text)
    pairs = enumerate(pairwise(found), 1)
    return Read(text, found, frozenset(at for at, (a, b) in pairs if not _PARTING.isdisjoint(text[a.end : b.start])))


def claim_of(token: Token) -> Claims | None:
    """What a token claims; None of one that claims nothing by itself."""
    if token.kind in (Kind.NUMBER, Kind.UNIT):
        return Claims.NUMBER
    if token.norm in NEGATIONS:
        return Claims.NEGATION
    if token.norm in HEDGES:
        return Claims.DOUBT
    if token.norm in DIRECTIONS:
        return Claims.DIRECTION
    return {Kind.DATE: Claims.DATE, Kind.NAME: Claims.NAME}.get(token.kind)


def claims(sentence: str) -> tuple[Claim, ...]:
    """The claims of one sentence, in order. Equal claims have equal kinds and values.

    >>> [(c.kind.value, c.value) for c in claims("It did not rise by fifty percent.")]
    [('negation', 'not'), ('direction', 'increas'), ('number', '50 %')]
    """
    said = parse(sentence)
    out: list[Claim] = []
    for at, token in enumerate(said.tokens):
        kind = claim_of(token)
        if kind is None:
            continue
        if token.kind is Kind.UNIT and at and said.tokens[at - 1].kind is Kind.NUMBER:
            number = out.pop()
            value = f"{number.value} {token.norm}"
            out.append(Claim(kind, value, number.start, token.end, token.end))
            continue
        about = kind in (Claims.NEGATION, Claims.DOUBT)
        scope_end = said.tokens[said.scope(at) - 1].end if about else token.end
        out.append(Claim(kind, token.norm.lstrip("#@") or token.norm, token.start, token.end, scope_end))
    return tuple(out)
