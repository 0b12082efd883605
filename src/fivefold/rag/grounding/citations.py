"""Marks such as `[1]` or `[1, 3]` in an answer: which passages, counted from 1, a sentence says it has from."""

from __future__ import annotations

import re
from collections.abc import Callable

_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_MARKER = re.compile(r"[ \t]*\[(\d{1,4}(?:[ \t]*,[ \t]*\d{1,4})*)\]")


def cited(text: str) -> tuple[int, ...]:
    """The numbers cited in a text, each once, in order. What stands in code cites nothing."""
    numbers = [int(n) for m in _markers(text) for n in m[1].split(",")]
    return tuple(dict.fromkeys(numbers))


def without_markers(text: str) -> str:
    """The text with spaces where citations were, so that offsets stay."""
    return _replaced(text, lambda m: " " * len(m[0]))


def stripped(text: str) -> str:
    """The text as it reads without its citations."""
    return _replaced(text, lambda m: "").strip()


def _markers(text: str) -> list[re.Match[str]]:
    code = [m.span() for m in _CODE.finditer(text)] if "`" in text else []
    return [m for m in _MARKER.finditer(text) if not any(a <= m.start() < b for a, b in code)]


def _replaced(text: str, by: Callable[[re.Match[str]], str]) -> str:
    out, at = [], 0
    for marker in _markers(text):
        out += [text[at : marker.start()], by(marker)]
        at = marker.end()
    return "".join([*out, text[at:]])
