"""The text that is shown: checked sentences with verified citations, whose offsets never change once they are out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from fivefold.core.errors import Invalid
from fivefold.rag.grounding.citations import stripped
from fivefold.rag.grounding.harmless import harmless
from fivefold.rag.grounding.passages import Evidence, Passage, Quote
from fivefold.rag.grounding.sentences import sentences, sentences_so_far
from fivefold.rag.grounding.verify import CALIBRATED, Checked, State, Thresholds, check

Policy = Literal["drop", "mark"]
"""What becomes of a sentence that no passage says: left out, or shown with its state behind it."""


class Citation(msgspec.Struct, frozen=True):
    """A citation in the text that is shown.

    `text[start:end]` is the mark, `[number]`; `text[sentence_start:sentence_end]` is what it stands for; `quote` is
    where that is written.
    """

    number: int
    start: int
    end: int
    sentence_start: int
    sentence_end: int
    quote: Quote


class Piece(msgspec.Struct, frozen=True):
    """Text to be put behind what is shown already, the citations in it, and the sentence it came from.

    `text` is empty where the sentence is withheld. Offsets of citations are in the whole text.
    """

    text: str
    citations: tuple[Citation, ...]
    checked: Checked


class Answer(msgspec.Struct, frozen=True):
    """A whole answer: what is shown, its citations, and the verdict on each sentence, shown or not."""

    text: str
    citations: tuple[Citation, ...]
    checked: tuple[Checked, ...]


def final(
    answer: str, passages: Sequence[Passage], policy: Policy = "drop", thresholds: Thresholds = CALIBRATED
) -> Answer:
    """An answer as it is shown. Citations are those that were proved: a wrong one is replaced, a missing one is set.

    Where nothing was proved the text is empty under "drop": say that it is not known. Whatever the policy, a
    sentence with an image or a link that leads out is withheld. Raises Invalid for a policy that does not exist.

    >>> final("It takes 5 minutes. It is free.", [Passage("a.md", "a.md#1", "It is free.")]).text
    'It is free. [1]'
    """
    return whole(stream([answer], passages, policy, thresholds))


def whole(pieces: Iterable[Piece]) -> Answer:
    """The pieces of an answer as one."""
    out = list(pieces)
    return Answer(
        "".join(p.text for p in out), tuple(c for p in out for c in p.citations), tuple(p.checked for p in out)
    )


def stream(
    texts: Iterable[str], passages: Sequence[Passage], policy: Policy = "drop", thresholds: Thresholds = CALIBRATED
) -> Iterator[Piece]:
    """The same answer while it is being written: a sentence comes out once it is complete and was checked.

    However the text is cut, the pieces together are what `final` gives for the whole of it.
    """
    if policy not in ("drop", "mark"):
        raise Invalid(f"policy {policy!r} (have: drop, mark).")
    evidence = Evidence(passages)
    text, done, shown = "", 0, 0
    for part in texts:
        text += part
        for start, end in sentences_so_far(text, done):
            piece = _piece(text, start, end, text[done:start], shown, evidence, policy, thresholds)
            yield piece
            done, shown = end, shown + len(piece.text)
    for start, end in sentences(text, done):
        piece = _piece(text, start, end, text[done:start], shown, evidence, policy, thresholds)
        yield piece
        done, shown = end, shown + len(piece.text)


def _piece(
    text: str, start: int, end: int, gap: str, shown: int, evidence: Evidence, policy: Policy, thresholds: Thresholds
) -> Piece:
    checked = check(text, start, end, evidence, thresholds)
    said = stripped(text[start:end])
    proved = checked.state in (State.SUPPORTED, State.MISATTRIBUTED)
    if not harmless(said) or not said or (policy == "drop" and not proved):
        return Piece("", (), checked)
    return placed(said, gap if shown else "", shown, checked)


def placed(said: str, gap: str, shown: int, checked: Checked) -> Piece:
    """A sentence with its marks, put behind `shown` characters and the white space `gap`."""
    # a mark on the line that closes a block of code would keep it open
    between = "\n" if said.endswith("```") else " "
    sentence_start = shown + len(gap)
    sentence_end = at = sentence_start + len(said)
    if checked.state in (State.STITCHED, State.UNSUPPORTED):
        return Piece(f"{gap}{said}{between}[{checked.state}]", (), checked)
    citations, marks = [], ""
    for number, quote in zip(checked.proving, checked.quotes, strict=True):
        mark = f"{between if not marks else ' '}[{number}]"
        marks += mark
        citations.append(Citation(number, at + 1, at + len(mark), sentence_start, sentence_end, quote))
        at += len(mark)
    return Piece(f"{gap}{said}{marks}", tuple(citations), checked)
