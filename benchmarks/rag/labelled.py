"""Sentences of answers with the verdict each should get, made from real text by the same rule every time.

A case is a sentence with its citation, the passages, its label, and how it was made. Documents fall into two halves by
their id, so that nothing of the half that is measured on was seen while calibrating. What makes a case is written here
without the code that is measured: plain regular expressions and tables of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fivefold.rag.grounding.passages import Passage

DATA = Path(__file__).resolve().parent / "data" / "documents.jsonl.gz"
HALVES = ("calibrate", "held_out")
CHUNK = 3
"""Sentences in a passage."""


class Document(NamedTuple):
    id: str
    sentences: tuple[str, ...]
    question: str


class Case(NamedTuple):
    answer: str
    passages: tuple[Passage, ...]
    label: str
    kind: str


def documents(half: str) -> list[Document]:
    """Those of one half, by a digest of their id."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    mine = [r for r in rows if hashlib.sha256(f"half:{r['id']}".encode()).digest()[0] % 2 == HALVES.index(half)]
    return [Document(r["id"], tuple(split(r["text"])), r["question"]) for r in mine]


def split(text: str) -> Iterator[str]:
    """Sentences by the simplest rule that serves this text; tables, code and headings are left out."""
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=[*|#-])", text):
        if block.lstrip().startswith(("|", "#")) or "http" in block:
            continue
        for sentence in re.split(r"(?<=[A-Za-z0-9%)\]][.?])\s+(?=[A-Z0-9])", " ".join(block.lstrip("*- ").split())):
            if 6 <= len(sentence.split()) <= 60 and sentence[-1] in ".?" and sentence.count("`") % 2 == 0:
                yield sentence


def passages_of(document: Document) -> list[Passage]:
    return [
        Passage(document.id, f"{document.id}/{i}", " ".join(document.sentences[i : i + CHUNK]))
        for i in range(0, len(document.sentences), CHUNK)
    ]


def cases(half: str) -> list[Case]:
    """The labelled set of one half: some thousand sentences, each with the passages it is held against."""
    docs = [d for d in documents(half) if len(d.sentences) >= 4]
    out: list[Case] = []
    for document in docs:
        rng = random.Random(document.id)
        others = rng.sample([d for d in docs if d is not document], 2)
        own = passages_of(document)
        passages = [*own, *(p for d in others for p in passages_of(d)[:2])]
        rng.shuffle(passages)
        told = [s for s in document.sentences if not s.endswith("?")]
        for sentence in rng.sample(told, min(6, len(told))):
            right = next(i for i, p in enumerate(passages, 1) if sentence in p.text)
            for label, kinds in KINDS.items():
                for make in kinds:
                    made = make(sentence, told, others, rng)
                    if made is None or (made in document.sentences and label in ("unsupported", "stitched")):
                        continue
                    number = right
                    if label == "misattributed":
                        number = rng.choice([i for i in range(1, len(passages) + 1) if i != right])
                    out.append(Case(f"{made} [{number}]", tuple(passages), label, make.__name__))
    return out


class Asked(NamedTuple):
    question: str
    passages: tuple[Passage, ...]
    answered: bool


def asked(half: str) -> list[Asked]:
    """Each question of PubMedQA twice: with its own abstract among the passages of the four others nearest to it by the
    words they share, and with those alone.
    """
    docs = [d for d in documents(half) if len(d.sentences) >= 4]
    words = {d.id: set(re.findall(r"[a-z]{4,}", " ".join(d.sentences).lower())) for d in docs}
    out = []
    for document in docs:
        if document.question:
            wanted = set(re.findall(r"[a-z]{4,}", document.question.lower()))
            others = [d for d in docs if d is not document]
            near = sorted(others, key=lambda d: (-len(wanted & words[d.id]), d.id))
            around = tuple(p for d in near[:4] for p in passages_of(d))
            out.append(Asked(document.question, (*around[:4], *passages_of(document), *around[4:]), True))
            out.append(Asked(document.question, around, False))
    return out


# -- said as it is written, or nearly


def verbatim(sentence: str, *_: object) -> str | None:
    return sentence


def written_otherwise(sentence: str, *_: object) -> str | None:
    """Numbers, percent signs, contractions and capitals written another way."""
    out = re.sub(r"(\d)\s?%", r"\1 percent ", sentence).replace(" percent  ", " percent ")
    out = re.sub(r"percent (?=[),.;])", "percent", out)
    out = re.sub(r"(?<![/.-])\b(\d)(\d{3})\b(?![-./])", lambda m: f"{m[1]},{m[2]}" if int(m[0]) > 2100 else m[0], out)
    for short, long in ((" did not ", " didn't "), (" is not ", " isn't "), (" does not ", " doesn't ")):
        out = out.replace(short, long)
    for digit, word in (("two", "2"), ("three", "3"), ("four", "4"), ("five", "5"), ("six", "6")):
        out = re.sub(rf"(?<!-)\b{digit}\b(?!-)", word, out)
    return out if out != sentence else None


def framed(sentence: str, *args: object) -> str | None:
    frame = ("According to the study, ", "The authors report that ", "The document says that ")[len(sentence) % 3]
    first = sentence.split()[0]
    return frame + (sentence[0].lower() + sentence[1:] if first[1:].islower() or len(first) == 1 else sentence)


def shortened(sentence: str, *_: object) -> str | None:
    """Without what stands in parentheses, a first connective, or a trailing clause that adds."""
    out = re.sub(r"\s\([^()]*\)", "", sentence)
    out = re.sub(r"^(However|Moreover|In addition|Therefore|Furthermore|Thus), (\w)", lambda m: m[2].upper(), out)
    out = re.sub(r", (which|where|who) [^,]*\.$", ".", out)
    return out if out != sentence and len(out.split()) >= 5 else None


def reordered(sentence: str, *_: object) -> str | None:
    """A first phrase of circumstance put last."""
    found = re.match(r"((?:In|At|During|After|Before|Among|For) [^,]{3,60}), ([^,]+)\.$", sentence)
    if not found or found[2].split()[0] in ("and", "or"):
        return None
    return f"{found[2][0].upper()}{found[2][1:]} {found[1][0].lower()}{found[1][1:]}."


WORDS = {
    "patients": "subjects", "evaluated": "assessed", "examined": "assessed", "performed": "carried out",
    "significantly": "markedly", "children": "young people", "used": "employed", "showed": "displayed",
    "compared": "contrasted", "determine": "establish", "investigate": "explore", "included": "comprised",
    "received": "were given", "measured": "gauged", "observed": "noticed", "method": "technique", "aim": "goal",
    "begins": "starts", "kept": "retained", "removed": "taken away", "answered": "replied to", "whole": "entire",
}  # fmt: skip


def reworded(sentence: str, *_: object) -> str | None:
    """One word for another of the same meaning."""
    for word, other in WORDS.items():
        if re.search(rf"\b{word}\b", sentence):
            return re.sub(rf"\b{word}\b", other, sentence, count=1)
    return None


# -- said otherwise than it is written

NUMBER = r"(?<![\w.,-])\d+(?:\.\d+)?(?![\w,-]|\.\d)"
NAME = r"(?<=[a-z,] )(?:[A-Z][\w-]*[A-Z0-9][\w-]*|[A-Z][a-z]{3,}|`[^`]+`)"


def number_altered(sentence: str, told: list[str], others: object, rng: random.Random) -> str | None:
    found = list(re.finditer(NUMBER, sentence))
    if not found:
        return None
    one = rng.choice(found)
    value = one[0]
    place = rng.randrange(len(value))
    while not value[place].isdigit():
        place = rng.randrange(len(value))
    digit = str((int(value[place]) + rng.randint(1, 8)) % 9 + 1)
    altered = value[:place] + digit + value[place + 1 :]
    return None if float(altered) == float(value) else sentence[: one.start()] + altered + sentence[one.end() :]


def name_swapped(sentence: str, told: list[str], others: list[Document], rng: random.Random) -> str | None:
    """A name gives way to one of another document."""
    found = list(re.finditer(NAME, sentence))
    pool = sorted({m for d in others for s in d.sentences for m in re.findall(NAME, s)} - {m[0] for m in found})
    if not found or not pool:
        return None
    one = rng.choice(found)
    return sentence[: one.start()] + rng.choice(pool) + sentence[one.end() :]


def _word_swapped(pattern: str, sentence: str, others: list[Document], rng: random.Random) -> str | None:
    found = list(re.finditer(pattern, sentence))
    here = {m[0][:5] for m in found}
    pool = sorted({w for d in others for s in d.sentences for w in re.findall(pattern, s) if w[:5] not in here})
    if not found or not pool:
        return None
    one = rng.choice(found)
    return sentence[: one.start()] + rng.choice(pool) + sentence[one.end() :]


def noun_swapped(sentence: str, told: list[str], others: list[Document], rng: random.Random) -> str | None:
    """A long word in small letters gives way to one of another document."""
    return _word_swapped(r"\b[a-z]{8,}(?<!ly)(?<!ing)(?<!ed)\b", sentence, others, rng)


def verb_swapped(sentence: str, told: list[str], others: list[Document], rng: random.Random) -> str | None:
    """A past form gives way to one of another document."""
    return _word_swapped(r"\b[a-z]{4,}ed\b", sentence, others, rng)


def places_changed(sentence: str, told: list[str], others: object, rng: random.Random) -> str | None:
    """Two different numbers, or two names, of the sentence change places."""
    for pattern in (NUMBER, NAME):
        found = list(re.finditer(pattern, sentence))
        if len(found) > 1 and found[0][0] != found[1][0]:
            a, b = found[:2]
            return sentence[: a.start()] + b[0] + sentence[a.end() : b.start()] + a[0] + sentence[b.end() :]
    return None


def negation_dropped(sentence: str, *_: object) -> str | None:
    for pattern, by in (
        (r"\b(is|was|are|were|has|have|had|can|could|may|will|would|must|should|does|do|did) not\b", r"\1"),
        (r"\bcannot\b", "can"), (r"\b[Nn]o (?=[a-z])", "a "), (r"\bwithout\b", "with"), (r"\bnever\b", "always"),
        (r"\bneither (\w+) nor\b", r"both \1 and"),
    ):  # fmt: skip
        out = re.sub(pattern, by, sentence, count=1)
        if out != sentence:
            return out
    return None


def negation_added(sentence: str, *_: object) -> str | None:
    out = re.sub(r"\b(is|was|are|were|can|will|must)\b(?! not)", r"\1 not", sentence, count=1)
    return out if out != sentence else None


OPPOSITES = [
    ("increased", "decreased"), ("higher", "lower"), ("more", "less"), ("greater", "smaller"), ("before", "after"),
    ("better", "worse"), ("improved", "worsened"), ("above", "below"), ("longer", "shorter"), ("first", "last"),
    ("positive", "negative"), ("significant", "insignificant"), ("least", "most"), ("older", "younger"),
    ("with", "without"), ("all", "no"), ("effective", "ineffective"), ("reduced", "increased"),
]  # fmt: skip


def turned_round(sentence: str, told: list[str], others: object, rng: random.Random) -> str | None:
    """A word of direction gives way to its opposite."""
    table = [(a, b) for pair in OPPOSITES for a, b in (pair, pair[::-1]) if re.search(rf"\b{a}\b", sentence)]
    if not table:
        return None
    word, other = rng.choice(table)
    return re.sub(rf"\b{word}\b", other, sentence, count=1)


DOUBTS = [(r"\bmay be\b", "is"), (r"\bmight be\b", "is"), (r"\b(may|might|could) ", ""), (r"\bonly ", ""),
          (r"\b(almost|nearly|probably|possibly|partly) ", "")]  # fmt: skip


def doubt_dropped(sentence: str, *_: object) -> str | None:
    for pattern, by in DOUBTS:
        out = re.sub(pattern, by, sentence, count=1)
        if out != sentence:
            return out
    return None


def from_elsewhere(sentence: str, told: list[str], others: list[Document], rng: random.Random) -> str | None:
    """A sentence of a document that is among the passages with its beginning only: its later part is not there."""
    late = [s for d in others for s in d.sentences[2 * CHUNK :]]
    return rng.choice(late) if late and rng.random() < 0.4 else None


# -- made of two


def stitched_halves(sentence: str, told: list[str], others: object, rng: random.Random) -> str | None:
    """The first part of one sentence and the last of another, cut between words."""
    rest = [s for s in told if s != sentence and len(s.split()) >= 10]
    if len(sentence.split()) < 10 or not rest:
        return None
    first, second = sentence.split(), rng.choice(rest).split()
    return " ".join([*first[: max(6, len(first) // 2)], *second[-max(6, len(second) // 2) :]])


def stitched_clauses(sentence: str, told: list[str], others: object, rng: random.Random) -> str | None:
    """Two whole sentences joined by a word that claims more than either."""
    rest = [s for s in told if s != sentence]
    if not rest or len(sentence.split()) > 30:
        return None
    other = min(rest, key=len)
    return f"{sentence[:-1]}, because {other[0].lower()}{other[1:]}"


Make = Callable[..., "str | None"]
KINDS: dict[str, tuple[Make, ...]] = {
    "supported": (verbatim, written_otherwise, framed, shortened, reordered, reworded),
    "misattributed": (verbatim, written_otherwise, shortened),
    "stitched": (stitched_halves, stitched_clauses),
    "unsupported": (
        number_altered, name_swapped, noun_swapped, verb_swapped, places_changed, negation_dropped, negation_added,
        turned_round, doubt_dropped, from_elsewhere,
    ),
}  # fmt: skip
