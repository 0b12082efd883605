"""LIKE patterns as Python regular expressions that never backtrack over an earlier %."""

from __future__ import annotations

import re

from fivefold.core.errors import Invalid


def like_pattern(pattern: str, escape: str | None, fold: bool) -> str:
    """The regular expression for a LIKE pattern; `%` is any run, `_` any one code point.

    With `fold`, ASCII letters are lowered first, as the text must be. Raises Invalid for an escape that is not one
    character, is a letter or digit, or stands before anything but `%`, `_` and itself.
    """
    if escape is not None and (len(escape) != 1 or escape.isalnum() or escape in "%_"):
        raise Invalid(f"the escape {escape!r} of a like is not one punctuation character.", hint="Write escape '!'.")
    pieces, piece, at = [], "", 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == escape:
            at += 1
            if at == len(pattern) or pattern[at] not in ("%", "_", escape):
                raise Invalid(
                    f"the like pattern {pattern!r} escapes neither %, _ nor {escape}.",
                    hint=f"Double a literal {escape}.",
                )
            piece += re.escape(pattern[at])
        elif sign == "%":
            pieces.append(piece)
            piece = ""
        elif sign == "_":
            piece += "."
        else:
            piece += re.escape(sign.lower() if fold and sign.isascii() else sign)
        at += 1
    if not pieces:
        return piece
    # an atomic group keeps the leftmost place of each middle piece: taking a later one could never help
    middle = "".join(f"(?>.*?{p})" for p in pieces[1:] if p)
    return f"{pieces[0]}{middle}.*{piece}"
