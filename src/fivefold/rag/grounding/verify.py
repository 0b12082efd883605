"""Every sentence of an answer held against the passages it was made from: no model, the same verdict each time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from fivefold.rag.grounding import calibrated
from fivefold.rag.grounding.agreement import Agreement, hard
from fivefold.rag.grounding.citations import cited
from fivefold.rag.grounding.claims import Read
from fivefold.rag.grounding.passages import Evidence, Passage, Quote, Span, read
from fivefold.rag.grounding.sentences import sentences
from fivefold.rag.grounding.tokens import counted

_STITCHED_FROM = 16
"""Spans that are tried as the parts of a sentence: those that share most words with it."""

_NEAR, _EXPLAINED = 0.5, 3
"""Which spans' conflicts are told when none supports a sentence: the share of its words they have, and how many."""


class State(StrEnum):
    """What was found about a sentence."""

    SUPPORTED = "supported"
    MISATTRIBUTED = "misattributed"
    STITCHED = "stitched"
    UNSUPPORTED = "unsupported"


class Checked(msgspec.Struct, frozen=True):
    """A sentence of an answer, `start` to `end` in it, and what proves it.

    `cited` are the passages it names, counted from 1; `proving` those that do say it, and `quotes` where, one for each
    (for a stitched sentence: where its parts are). `reasons` tell people why it is not supported.
    """

    start: int
    end: int
    state: State
    cited: tuple[int, ...]
    proving: tuple[int, ...]
    quotes: tuple[Quote, ...]
    reasons: tuple[str, ...] = ()


class Thresholds(msgspec.Struct, frozen=True):
    """Where the lines are drawn; the defaults were calibrated (`benchmarks/rag/calibrate.py`).

    `coverage` is the share of a sentence's words one span must have, `stitched` the share several spans must have
    together, `part` the words each of these must add.
    """

    coverage: float = calibrated.COVERAGE
    stitched: float = calibrated.STITCHED_COVERAGE
    part: int = calibrated.PART


CALIBRATED = Thresholds()


def verify(answer: str, passages: Sequence[Passage], thresholds: Thresholds = CALIBRATED) -> tuple[Checked, ...]:
    """Check each sentence of an answer; `[n]` in it cites `passages[n - 1]`.

    A sentence that cites nothing is supported when any passage says it. One that cites several passages is supported
    when one of them does; `proving` says which.

    >>> said = verify("It takes 5 minutes. [1]", [Passage("guide.md", "guide.md#1", "It takes 50 minutes.")])
    >>> said[0].state, said[0].reasons
    (<State.UNSUPPORTED: 'unsupported'>, ("'5' is not said so",))
    """
    evidence = Evidence(passages)
    return tuple(check(answer, start, end, evidence, thresholds) for start, end in sentences(answer))


def check(text: str, start: int, end: int, evidence: Evidence, thresholds: Thresholds = CALIBRATED) -> Checked:
    """Check the one sentence `text[start:end]`."""
    said, names = read(text[start:end]), cited(text[start:end])
    proofs, near = _proofs(said, evidence, thresholds)
    chosen = {n: quote for n, quote in reversed(proofs) if n in names}
    if chosen:
        proving = tuple(n for n in names if n in chosen)
        return Checked(start, end, State.SUPPORTED, names, proving, tuple(chosen[n] for n in proving))
    if proofs:
        number, quote = proofs[0]
        wrong = (f"{list(names)} do not say it, [{number}] does",) if names else ()
        state = State.MISATTRIBUTED if names else State.SUPPORTED
        return Checked(start, end, state, names, (number,), (quote,), wrong)
    parts = _parts(said, evidence, thresholds)
    if parts:
        quotes = tuple(evidence.quote(span) for span in parts)
        numbers = tuple(dict.fromkeys(span.passage for span in parts))
        return Checked(start, end, State.STITCHED, names, numbers, quotes, ("no one passage says this together",))
    return Checked(start, end, State.UNSUPPORTED, names, (), (), near or ("no passage says anything like it",))


def measure(said: Read, evidence: Evidence, least: float) -> list[tuple[Span, Agreement]]:
    """Spans that have at least the share `least` of a sentence's words, and how far each agrees; the best first."""
    norms = [said.tokens[i].norm for i in counted(said.tokens)]
    hits = evidence.hits(norms)
    # beside the same neighbour is less than anywhere: no span below the line can come above it
    near = [at for at, n in hits.items() if n >= least * len(norms) - 1e-9]
    measured = [(evidence.spans[at], evidence.spans[at].agreement(said)) for at in sorted(near)]
    return sorted(measured, key=lambda m: (bool(m[1].conflicts), -m[1].coverage))


def _proofs(said: Read, evidence: Evidence, thresholds: Thresholds) -> tuple[list[tuple[int, Quote]], tuple[str, ...]]:
    """Passages that say a sentence, the best first; else the conflicts with those that are nearest to it."""
    found = list(evidence.verbatim(said))
    measured = measure(said, evidence, thresholds.coverage)
    found += [
        (span.passage, evidence.quote(span))
        for span, how in measured
        if not how.conflicts and how.coverage >= thresholds.coverage
    ]
    if found:
        return found, ()
    nearest = sorted(measure(said, evidence, _NEAR), key=lambda m: -m[1].coverage)[:_EXPLAINED]
    return [], min((how.conflicts for _, how in nearest if how.conflicts), key=len, default=())


def _parts(said: Read, evidence: Evidence, thresholds: Thresholds) -> list[Span]:
    """The spans, two or more, that have a sentence's parts between them; none when something in it stands nowhere."""
    places = set(counted(said.tokens))
    must = {i for i, token in enumerate(said.tokens) if hard(token)}
    hits = evidence.hits(said.tokens[i].norm for i in places)
    likely = sorted(hits, key=lambda at: (-hits[at], at))[:_STITCHED_FROM]
    spans = [(evidence.spans[at], evidence.spans[at].agreement(said).covered) for at in likely]
    left, chosen = set(places), []
    while spans:
        best, covered = max(spans, key=lambda s: len(left & s[1]))
        if len(left & covered) < thresholds.part:
            break
        chosen.append((best, covered))
        left -= covered
    together = {i for _, covered in chosen for i in covered}
    enough = len(places - left) >= thresholds.stitched * len(places) and must <= together
    return [span for span, _ in chosen] if enough and len(chosen) > 1 else []
