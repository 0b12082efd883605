"""The words, numbers, dates, names and signs of a text, each with its offsets and one way to write it.

Equal things compare equal: `1,234` and `1234`, `50 %` and `fifty percent`, `12 March 2013` and `2013-03-12`, `didn't`
and `did not`, and letters that Unicode calls compatible. `10²` stays other than `102`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from fivefold.rag.grounding.lexicon import FRAMING, MONTHS, NUMBERS, ORDINALS, SAME, SCALES, STOP, TENS, UNITS
from fivefold.rag.grounding.stems import stem


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    NAME = "name"
    NUMBER = "number"
    DATE = "date"
    UNIT = "unit"
    SIGN = "sign"


class Token(NamedTuple):
    """A part of a text: `text[start:end]`, and how it is compared."""

    start: int
    end: int
    norm: str
    kind: Kind


_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_LEX = re.compile(
    rf"""
    (?P<iso>\d{{4}}-\d\d-\d\d(?![\w-]))
  | (?P<dmy>(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?[ ]+(?:of[ ]+)?(?P<m1>{_MONTH})\.?,?[ ]+(?P<y1>\d{{4}})\b)
  | (?P<mdy>(?P<m2>{_MONTH})\.?[ ]+(?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,?[ ]+(?P<y2>\d{{4}})\b)
  | (?P<my>(?P<m3>{_MONTH})\.?,?[ ]+(?P<y3>\d{{4}})\b)
  | (?P<percent>per\s+cent\b)
  | (?P<wide>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f])
  | (?P<number>(?<![\w.])(?:(?<!\S)|(?<=[(\[=<>≤≥±]))[-−+]?\d{{1,3}}(?:[,\u00a0\u2009\u202f]\d{{3}})+(?:\.\d+)?(?![\d])
      |(?:(?<!\S)|(?<=[(\[=<>≤≥±]))[-−]\d+(?:\.\d+)?(?![\w])
      |\d{{1,3}}(?:[,\u00a0\u2009\u202f]\d{{3}})+(?:\.\d+)?(?!\d)
      |\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|(?<!\w)\.\d+)
  | (?P<word>[^\W\d_](?:['’]?[^\W\d_]|[\u0300-\u036f])*)
  | (?P<other>\w)
  | (?P<sign><=|>=|->|[^\w\s])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CHUNK = re.compile(r"\w+(?:[._@:/\\+#~’'-]+\w+)*")
_PLAIN_NUMBER = re.compile(r"\d[\d.,\u00a0\u2009\u202f]*(?:[eE][-+]?\d+)?\Z")
_NUMBER_UNIT = re.compile(r"(\d+(?:\.\d+)?)([^\W\d_]+)\Z")
_RANGE = re.compile(r"\d+(?:\.\d+)?(?:-\d+(?:\.\d+)?)+\Z")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\Z", re.IGNORECASE)
_SENSIBLE = re.compile(r"[-+]?\d{0,25}(?:\.\d{1,25})?(?:[eE][-+]?\d{1,2})?\Z")
_SHORT = re.compile(r"#\d{1,15}(?:\.\d{1,10})?\Z")
_KEPT_SIGNS = frozenset("<>=≤≥≦≧≈±×+%‰°$€£¥→←&")


def tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a text in order; punctuation is left out, signs that carry meaning are kept."""
    return tuple(_joined(_raw(text)))


def counted(said: Sequence[Token]) -> list[int]:
    """The tokens, by place, that count when two sentences are compared: all but the words that say nothing alone.

    A sentence may begin with words that say where it has something from ("The authors report that"); they do not count
    there, and do anywhere else.
    """
    words = [t.kind is Kind.WORD and t.norm in STOP for t in said]
    begins = 0
    while begins < len(said) and (words[begins] or (said[begins].kind is Kind.WORD and said[begins].norm in FRAMING)):
        begins += 1
    return [at for at in range(begins, len(said)) if not words[at]]


def _raw(text: str) -> list[Token]:
    out: list[Token] = []
    at, fresh = 0, True
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        chunk = _CHUNK.match(text, at)
        if chunk and _is_code(chunk[0]):
            out.append(Token(at, chunk.end(), _fold(chunk[0]), Kind.NAME))
            at, fresh = chunk.end(), False
            continue
        found = _LEX.match(text, at)
        if found is None:
            at += 1
            continue
        if found["word"] and text[at - 1 : at] == "`" == text[found.end() : found.end() + 1]:
            out.append(Token(at, found.end(), _fold(found[0]), Kind.NAME))
        else:
            out.extend(_one(found, fresh))
        fresh = fresh and found.lastgroup == "sign"
        at = found.end()
    return out


def _is_code(chunk: str) -> bool:
    """Whether a run of letters, digits and joiners is a name as a whole: `IL-6`, `v1.2`, `a.b`, `late@champion`."""
    if _PLAIN_NUMBER.match(chunk) or _RANGE.match(chunk) or _ORDINAL.match(chunk):
        return False
    measured = _NUMBER_UNIT.match(chunk)
    if measured and measured[2].casefold() in UNITS:
        return False
    letters = any(c.isalpha() for c in chunk)
    if letters and any(c.isdigit() for c in chunk):
        return not re.match(r"\d+(?:\.\d+)?-[^\W\d_]+(-[^\W\d_]+)*\Z", chunk)
    if re.match(r"\d{4}-\d\d-\d\d\Z", chunk):
        return False
    return bool(re.search(r"_|[^\s\d][.@:\\#~+][^\s\d]|\d[/:._-]\d", chunk))


def _one(found: re.Match[str], fresh: bool) -> list[Token]:
    start, end, written = found.start(), found.end(), found[0]
    group = next(
        name
        for name in ("iso", "dmy", "mdy", "my", "percent", "wide", "number", "word", "other", "sign")
        if found[name] is not None
    )
    if group == "iso":
        return [Token(start, end, f"@{_fold(written)}", Kind.DATE)]
    if group in ("dmy", "mdy", "my"):
        n = {"dmy": "1", "mdy": "2", "my": "3"}[group]
        day = f"-{int(found[f'd{n}']):02}" if group != "my" else ""
        month = MONTHS[found[f"m{n}"].casefold()]
        return [Token(start, end, f"@{int(found[f'y{n}'])}-{month:02}{day}", Kind.DATE)]
    if group == "percent":
        return [Token(start, end, "%", Kind.UNIT)]
    if group == "number":
        return [Token(start, end, _number(written), Kind.NUMBER)]
    if group == "word":
        return _word(written, start, fresh)
    if group == "sign" and written not in _KEPT_SIGNS and len(written) == 1:
        if written == "-" or unicodedata.category(written)[0] == "P":
            return []
        if unicodedata.category(written)[0] in "MC":
            return []
    norm = _fold(written)
    # a superscript or a fraction changes the number before it as a unit does
    kind = Kind.UNIT if norm in UNITS or unicodedata.category(written[0]) == "No" else Kind.SIGN
    return [Token(start, end, UNITS.get(norm, SAME.get(norm, norm)), kind)]


def _word(written: str, start: int, fresh: bool) -> list[Token]:
    end = start + len(written)
    folded = _fold(written).replace("’", "'")
    if written.isupper() and len(written) > 1 and folded in STOP:
        return [Token(start, end, written, Kind.NAME)]
    if folded in ("cannot", "can't"):
        return [Token(start, start + 3, "can", Kind.WORD), Token(start + 3, end, "not", Kind.WORD)]
    if folded == "won't":
        return [Token(start, start + 2, "will", Kind.WORD), Token(start + 2, end, "not", Kind.WORD)]
    if folded.endswith("n't") and len(folded) == len(written):
        return [Token(start, end - 3, _root(folded[:-3]), Kind.WORD), Token(end - 3, end, "not", Kind.WORD)]
    if folded.endswith("'s"):
        folded = folded[:-2]
    if folded in ORDINALS:
        return [Token(start, end, f"#{ORDINALS[folded]}th", Kind.NUMBER)]
    if folded in NUMBERS or folded in TENS:
        return [Token(start, end, f"#{NUMBERS.get(folded, TENS.get(folded))}", Kind.NUMBER)]
    root = SAME.get(stem(folded), stem(folded))
    if root == "%":
        return [Token(start, end, "%", Kind.UNIT)]
    capital = any(c.isupper() for c in written)
    # the first word is capital whatever it is; one that only says where something is from is no name
    if capital and folded not in STOP and not (fresh and folded in FRAMING):
        return [Token(start, end, root, Kind.NAME)]
    return [Token(start, end, _root(folded), Kind.WORD)]


def _root(folded: str) -> str:
    return folded if folded in STOP or folded in FRAMING else SAME.get(stem(folded), stem(folded))


def _joined(raw: list[Token]) -> list[Token]:
    """Number words put together (`twenty-two`, `3 million`), ordinals, and the units behind numbers."""
    out: list[Token] = []
    for token in raw:
        last = out[-1] if out else None
        if last and last.kind is Kind.NUMBER and _SHORT.match(last.norm) and token.start - last.end <= 1:
            value = Decimal(last.norm[1:])
            if token.norm in SCALES:
                out[-1] = Token(last.start, token.end, _write(value * SCALES[token.norm]), Kind.NUMBER)
                continue
            small = token.norm[1:] if token.kind is Kind.NUMBER else ""
            if value in TENS.values() and small.isdigit() and 0 < int(small) < 10 and token.end - token.start > 1:
                out[-1] = Token(last.start, token.end, _write(value + int(small)), Kind.NUMBER)
                continue
            if token.norm in ("st", "nd", "rd", "th") and token.start == last.end:
                out[-1] = Token(last.start, token.end, f"{last.norm}th", Kind.NUMBER)
                continue
        if last and last.kind is Kind.NUMBER and token.norm in UNITS and token.kind is not Kind.UNIT:
            token = Token(token.start, token.end, UNITS[token.norm], Kind.UNIT)
        out.append(token)
    return out


def _number(written: str) -> str:
    plain = re.sub(r"[,\u00a0\u2009\u202f]", "", written).replace("−", "-")
    # what is longer than any number one writes stays as it is written: arithmetic on it would round or take for ever
    return _write(Decimal(plain)) if _SENSIBLE.match(plain) else f"#{_fold(written)}"


def _write(value: Decimal) -> str:
    plain = f"{value:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "#0" if plain == "-0" else f"#{plain}"


_KEPT_FORMS = ("<super>", "<sub>", "<fraction>", "<circle>", "<square>")


def _fold(written: str) -> str:
    """One way to write letters that mean the same; superscripts and fractions mean something else and stay."""
    if written.isascii():
        return written.casefold()
    parts = [
        c if unicodedata.decomposition(c).startswith(_KEPT_FORMS) else unicodedata.normalize("NFKC", c) for c in written
    ]
    return unicodedata.normalize("NFC", "".join(parts).casefold()).replace("−", "-")
