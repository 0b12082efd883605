"""Plain values as YAML 1.2 that readers of YAML 1.1 understand the same way."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
_LINES = re.compile(
    r"[^\s\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff][^\x00-\x08\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]*\n"
)
_ESCAPED = re.compile(r"[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def documents(values: Sequence[Mapping[str, Any]]) -> str:
    """Documents, one after the other."""
    return "".join(f"---\n{yaml(value)}" for value in values)


def yaml(value: Mapping[str, Any]) -> str:
    """One document; keys stay in their order."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _mapping(value: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for key, inner in value.items():
        name = _scalar(key)
        if isinstance(inner, Mapping) and inner:
            lines += [f"{name}:", *(f"  {line}" for line in _mapping(inner))]
        elif isinstance(inner, list) and inner:
            lines += [f"{name}:", *_items(inner)]
        elif isinstance(inner, str) and _is_block(inner):
            lines += [f"{name}: |", *(f"  {line}" if line else "" for line in inner[:-1].split("\n"))]
        else:
            lines.append(f"{name}: {_scalar(inner)}")
    return lines


def _items(values: list[Any]) -> list[str]:
    lines: list[str] = []
    for value in values:
        if isinstance(value, Mapping) and value:
            first, *rest = _mapping(value)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        elif isinstance(value, list) and value:
            lines += ["-", *(f"  {line}" for line in _items(value))]
        else:
            lines.append(f"- {_scalar(value)}")
    return lines


def _is_block(text: str) -> bool:
    """Whether a text can stand as it is, line by line: one newline ends it, and nothing of it is invisible."""
    return text.count("\n") > 1 and not text.endswith("\n\n") and _LINES.fullmatch(text) is not None


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", quoted)
    return json.dumps(value)
