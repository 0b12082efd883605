"""Sentences of a text with exact offsets, found from the left with no more look-ahead than they need.

The same scan serves a whole text and one that is still growing: what it has decided on a prefix never changes. Code
between fences or backticks, decimals, abbreviations and items of lists stay whole; a marker such as `[2]` behind a full
stop belongs to the sentence before it.
"""

from __future__ import annotations

import re

from fivefold.rag.grounding.lexicon import ABBREVIATIONS, STARTERS

_STOP = re.compile(r"[.!?…。！？]+|`+|\n")
_WIDE = re.compile("[。！？]")
_CLOSERS = re.compile(r"[\"'”’)\]»*_]*")
_OPENERS = re.compile(r"[\"'“‘(\[«*_]*")
_MARKERS = re.compile(r"(?:[ \t]?\[\d{1,4}(?:[ \t]*,[ \t]*\d{1,4})*\])+")
_MARKER_BEGUN = re.compile(r"[ \t]?(?:\[[\d, \t]*)?\Z")
_SPACE = re.compile(r"\s*")
_BLOCK = re.compile(r"(?:[-*+•]|\d{1,9}[.)])\s|#|```|\||>")
_WORD_BEFORE = re.compile(r"[^\s(\[]+\Z")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]\Z")
_NEXT_WORD = re.compile(r"\w+")

_INDENT = re.compile(r"[ \t\r]*")

_LONGEST_BLOCK_MARKER = 12
_LONGEST_ABBREVIATION = 16


def sentences(text: str, start: int = 0) -> tuple[tuple[int, int], ...]:
    """The sentences of a text from `start` on as `(start, end)` in characters; between them is white space only."""
    return tuple(_scan(text, start, final=True))


def sentences_so_far(text: str, start: int = 0) -> tuple[tuple[int, int], ...]:
    """The sentences from `start` on that stay as they are, whatever text is still to come."""
    return tuple(_scan(text, start, final=False))


def _scan(text: str, start: int, *, final: bool) -> list[tuple[int, int]]:
    found = []
    while (start := _SPACE.match(text, start).end()) < len(text):  # type: ignore[union-attr]
        end = _end(text, start, final)
        if end is None:
            break
        found.append((start, start + len(text[start:end].rstrip())))
        start = end
    return found


def _end(text: str, start: int, final: bool) -> int | None:
    """Where the sentence that begins at `start` ends; None when that depends on text still to come."""
    if not final and len(text) - start < 3:
        return None
    if text.startswith("```", start) and _begins_line(text, start):
        return _fence_end(text, start, final)
    if text[start] in "#|" and _begins_line(text, start):
        newline = text.find("\n", start)
        return newline if newline >= 0 else (len(text) if final else None)
    at = start
    while stop := _STOP.search(text, at):
        at = stop.end()
        # a run of stops or backticks may still grow
        if at == len(text) and not final:
            return None
        if stop[0] == "\n":
            ends = _block_follows(text, at, final)
            if ends:
                return stop.start()
        elif stop[0][0] == "`":
            past = _code_end(text, stop, final)
            if past is None:
                return None
            at, ends = past, False
        else:
            at = _CLOSERS.match(text, at).end()  # type: ignore[union-attr]
            if not final and _MARKER_BEGUN.match(text, at):
                return None
            markers = _MARKERS.match(text, at)
            if markers:
                at = markers.end()
                if not final and _MARKER_BEGUN.match(text, at):
                    return None
            ends = _stops(text, start, stop, at, final)
            if ends:
                return at
        if ends is None:
            return None
    return len(text) if final else None


def _begins_line(text: str, at: int) -> bool:
    return not text[text.rfind("\n", 0, at) + 1 : at].strip()


def _fence_end(text: str, start: int, final: bool) -> int | None:
    close = re.compile(r"\n[ \t]*```[^\n]*(?=\n)" if not final else r"\n[ \t]*```[^\n]*").search(text, start + 3)
    return close.end() if close else (len(text) if final else None)


def _code_end(text: str, ticks: re.Match[str], final: bool) -> int | None:
    """Past the code that backticks open, or past the backticks when nothing closes them in their paragraph."""
    blank = re.compile(r"\n[ \t\r]*\n").search(text, ticks.end())
    limit = blank.start() if blank else len(text)
    close = re.compile(rf"(?<!`){ticks[0]}(?!`)").search(text, ticks.end(), limit)
    if close and (final or close.end() < len(text)):
        return close.end()
    return ticks.end() if blank or final else None


def _block_follows(text: str, at: int, final: bool) -> bool | None:
    """Whether a new paragraph, item, heading, row or fence begins on the line at `at`."""
    line_start = _INDENT.match(text, at).end()  # type: ignore[union-attr]
    line = text[line_start : line_start + _LONGEST_BLOCK_MARKER]
    if not final and len(line) < _LONGEST_BLOCK_MARKER and "\n" not in line:
        return None
    return not line or line[0] == "\n" or bool(_BLOCK.match(line))


def _stops(text: str, start: int, stop: re.Match[str], at: int, final: bool) -> bool | None:
    """Whether a full stop ends the sentence; `at` is behind it, its closing quotes and its markers."""
    if _WIDE.search(stop[0]):
        return True
    space = _SPACE.match(text, at)
    assert space is not None
    if space.end() == len(text):
        return True if final else None
    if not space[0]:
        return False
    if space[0].count("\n") > 1:
        return True
    opened = _OPENERS.match(text, space.end()).end()  # type: ignore[union-attr]
    if opened == len(text):
        return True if final else None
    if text[opened].islower():
        return False
    if stop[0] != ".":
        return True
    before = text[max(start, stop.start() - _LONGEST_ABBREVIATION) : stop.start()]
    if stop.start() - start <= len(before) and before.isdigit():
        return False
    word = _WORD_BEFORE.search(before)
    if word is None:
        return True
    if word[0].casefold() in ABBREVIATIONS:
        return False
    if word[0].isupper() and _INITIALS.match(word[0]):
        following = _NEXT_WORD.match(text, opened)
        if following is None:
            return True
        if following.end() == len(text) and not final:
            return None
        return following[0] in STARTERS
    return True
