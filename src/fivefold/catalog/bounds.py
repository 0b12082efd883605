"""Limits on what may be written: short texts, bounded JSON, nothing a database would silently change."""

from __future__ import annotations

import json
import re
from typing import Any

from fivefold.core.canonical import Json
from fivefold.core.errors import Invalid

NAME = 250
TEXT = 8_000
JSON = 1_000_000
PARTS = 16_000_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def name(value: str, where: str) -> str:
    """A key: 1 to 250 bytes of UTF-8 (so that six of them fit into an index of PostgreSQL), no control characters.

    Raises Invalid, naming `where`.
    """
    if not isinstance(value, str) or _CONTROL.search(value) or not 1 <= len(_encoded(value, where)) <= NAME:
        raise Invalid(f"{where}: {_shown(value)} is not a name (accepted: 1 to {NAME} bytes, no control characters).")
    return value


def text(value: str, where: str, limit: int = TEXT) -> str:
    """A text of at most `limit` characters without NUL, which PostgreSQL cannot hold.

    Raises Invalid, naming `where`.
    """
    if not isinstance(value, str) or len(value) > limit or "\x00" in value:
        raise Invalid(f"{where}: {_shown(value)} is not accepted (a text of at most {limit} characters without NUL).")
    _encoded(value, where)
    return value


def document(value: Json, where: str, limit: int = JSON) -> str:
    """The JSON text of a value, of at most `limit` bytes; 1.0 stays 1.0 and large integers stay exact.

    Raises Invalid, naming `where`, for NaN, infinities, what JSON cannot hold, and what is too large.
    """
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(written.encode())
    except (TypeError, ValueError, RecursionError) as wrong:
        raise Invalid(f"{where}: {_shown(value)} is not JSON ({wrong}).") from None
    if size > limit:
        raise Invalid(
            f"{where}: {size} bytes of JSON are too many (at most {limit}).",
            hint="Store it as an artifact and keep its digest here.",
        )
    return written


def read(written: str) -> Any:
    """The value of a stored JSON text."""
    return json.loads(written)


def page_size(limit: int, most: int) -> int:
    """`limit` itself when it is between 1 and `most`; raises Invalid else."""
    if not isinstance(limit, int) or not 1 <= limit <= most:
        raise Invalid(f"limit: {limit!r} is not accepted (1 to {most}).", hint="Read on page by page.")
    return limit


def _encoded(value: str, where: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise Invalid(f"{where}: {_shown(value)} holds a lone surrogate.") from None


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
