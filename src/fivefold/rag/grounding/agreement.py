"""Whether one span says what a sentence says: how much of it is covered, and what contradicts it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fivefold.rag.grounding.claims import Claims, Read, claim_of
from fivefold.rag.grounding.lexicon import CONDITIONS, CONTRASTS, HEDGES, NEGATIONS, OPPOSITE_PREFIXES
from fivefold.rag.grounding.tiling import Tile, tiles
from fivefold.rag.grounding.tokens import Kind, Token, counted

_MOST = 60_000
"""Pairs of tokens beyond which two texts are not laid over each other: no sentence is so long."""

_BREAKS = frozenset(",;:()—–")


class Agreement(msgspec.Struct, frozen=True):
    """`coverage` is the share of the sentence's words that stand in the span beside the same neighbour, 0 to 1.

    `conflicts` are the ways in which the two say different things, in words for people. `covered` are the positions of
    the sentence's tokens that the span has.
    """

    coverage: float
    conflicts: tuple[str, ...]
    covered: frozenset[int]


def hard(token: Token) -> bool:
    """Whether a token must be in the span as it is. A doubt need not: to claim less than is written is no error."""
    return claim_of(token) not in (None, Claims.DOUBT)


def agreement(said: Read, span: Read) -> Agreement:
    """Lay a sentence over a span. A word counts, and a number or name agrees, only beside a neighbour it has there too.

    So numbers, names and groups that have changed places do not agree, though the same words are there.
    """
    if len(said.tokens) * len(span.tokens) > _MOST:
        return Agreement(0.0, ("too long to compare",), frozenset())
    laid = tiles([t.norm for t in said.tokens], [t.norm for t in span.tokens], said.apart, span.apart)
    runs = [t for t in laid if t.length > 1]
    ours = {t.left + n: t.right + n for t in runs for n in range(t.length)}
    theirs = {right: left for left, right in ours.items()}
    places = counted(said.tokens)
    coverage = sum(i in ours for i in places) / len(places) if places else 0.0
    conflicts = [
        *(f"{t.norm.lstrip('#@')!r} is not said so" for i, t in enumerate(said.tokens) if i not in ours and hard(t)),
        *_units(said.tokens, span.tokens, ours),
        *_opposites(said.tokens, span.tokens, ours, theirs),
        *_left_out(span, runs, theirs),
    ]
    if span.asks and not said.asks:
        conflicts.append("the passage only asks")
    return Agreement(coverage, tuple(conflicts), frozenset(ours))


def _units(said: Sequence[Token], span: Sequence[Token], ours: dict[int, int]) -> list[str]:
    """A number's unit, or its having none, is part of it."""
    out = []
    for i, j in ours.items():
        if said[i].kind is Kind.NUMBER:
            mine, other = _unit(said, i), _unit(span, j)
            if mine != other:
                out.append(f"{said[i].norm[1:]} is in {other or 'no unit'!r} there")
    return out


def _unit(tokens: Sequence[Token], at: int) -> str | None:
    following = tokens[at + 1] if at + 1 < len(tokens) else None
    return following.norm if following and following.kind is Kind.UNIT else None


def _opposites(said: Sequence[Token], span: Sequence[Token], ours: dict[int, int], theirs: dict[int, int]) -> list[str]:
    rest = {t.norm for j, t in enumerate(span) if j not in theirs}
    out = []
    for i, token in enumerate(said):
        if i not in ours and len(token.norm) > 3:
            for prefix in OPPOSITE_PREFIXES:
                if prefix + token.norm in rest or (
                    token.norm.startswith(prefix) and token.norm.removeprefix(prefix) in rest
                ):
                    out.append(f"{token.norm!r} is the opposite there")
                    break
    return out


def _left_out(span: Read, runs: Sequence[Tile], theirs: dict[int, int]) -> list[str]:
    """Words of the span that the sentence lacks and that would have changed it."""
    if not runs:
        return []
    first = min(t.right for t in runs)
    last = max(t.right + t.length - 1 for t in runs)
    out = []
    for j, token in enumerate(span.tokens):
        if j in theirs:
            continue
        if token.norm in CONDITIONS or (
            (token.norm in NEGATIONS or token.norm in HEDGES) and _reaches(span, j, first, last)
        ):
            out.append(f"{token.norm!r} is left out")
    return out


def _reaches(span: Read, cue: int, first: int, last: int) -> bool:
    """Whether a negation or a doubt touches what was taken from the span, tokens `first` to `last`.

    Before it: when that begins within its scope. Behind it: unless punctuation or a contrast parts them.
    """
    if cue <= last:
        return first < span.scope(cue)
    if any(t.norm in CONTRASTS for t in span.tokens[last + 1 : cue]):
        return False
    return not any(c in _BREAKS for c in span.text[span.tokens[last].end : span.tokens[cue].start])
