"""The regular expressions on which RE2 (DuckDB) and Python's re agree, by construction.

Refused: what only one of them knows, what they read differently, and repetition that could make Python backtrack
exponentially. Accepted: literals, `.`, classes, `\\d \\w \\s \\b` and their like (ASCII), `^`, `$`, groups, `|` and
`? * + {n,m}`.
"""

from __future__ import annotations

import re

from fivefold.core.errors import Invalid

_SPACE = r"\t\n\f\r "  # RE2's \s has no vertical tab
_KINDS = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": f"[{_SPACE}]", "S": f"[^{_SPACE}]"}
_IN_CLASS = {"d": r"\d", "w": r"\w", "s": _SPACE}
_CONTROL = {"n": r"\n", "t": r"\t", "r": r"\r", "f": r"\f"}
_PUNCTUATION = set(r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~""")
_COUNTED = re.compile(r"\{([0-9]{1,3})(?:(,)([0-9]{1,3})?)?\}")
_MOST_REPEATED, _MOST_QUANTIFIERS = 100, 8


def regexp_pattern(text: str) -> str:
    """The same pattern for Python's `re` with `re.ASCII`.

    Raises Invalid, naming the place, for anything outside the common subset.
    """
    reader = _Reader(text)
    pattern, _ = reader.alternation()
    if reader.at < len(text):
        raise reader.refuse("an unmatched )")
    return pattern


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.quantifiers = text, 0, 0

    def refuse(self, what: str) -> Invalid:
        return Invalid(
            f"the regular expression {self.text!r} has {what} at character {self.at + 1}.",
            hint=r"Accepted: literals, . [a-z] \d \w \s \b ^ $ ( ) (?: ) | and ? * + {n,m} on what repeats "
            "nothing itself.",
        )

    def alternation(self) -> tuple[str, bool]:
        """A pattern, and whether it is one plain sequence: no alternatives, no repetition."""
        branches, plain = [], True
        while True:
            branch, simple = self.sequence()
            if not branch and self.text:
                # DuckDB 2.0 finds no match for '(?:)b' in 'b'
                raise self.refuse("an empty alternative")
            branches.append(branch)
            plain = plain and simple
            if not self.text.startswith("|", self.at):
                return "|".join(branches), plain and len(branches) == 1
            self.at += 1

    def sequence(self) -> tuple[str, bool]:
        parts, plain = [], True
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            atom, simple, repeatable = self.atom()
            quantifier = self.quantifier()
            if quantifier:
                if not repeatable or not (simple or quantifier == "?"):
                    raise self.refuse("a repetition of an anchor, of alternatives or of repetitions")
                simple = False
            parts.append(atom + quantifier)
            plain = plain and simple
        return "".join(parts), plain

    def atom(self) -> tuple[str, bool, bool]:
        sign = self.text[self.at]
        if sign in "*+?{}]":
            raise self.refuse(f"a bare {sign}")
        if sign == "(":
            return self.group()
        if sign == "[":
            return self.character_class(), True, True
        self.at += 1
        if sign == "\\":
            return self.escape()
        if sign in "^$":
            return ("^" if sign == "^" else r"\Z"), True, False
        return ("." if sign == "." else re.escape(sign)), True, True

    def group(self) -> tuple[str, bool, bool]:
        self.at += 3 if self.text.startswith("(?:", self.at) else 1
        if self.text.startswith("?", self.at):
            raise self.refuse("a special group")
        inner, plain = self.alternation()
        if not self.text.startswith(")", self.at):
            raise self.refuse("an unclosed group")
        self.at += 1
        return f"(?:{inner})", plain, True

    def escape(self) -> tuple[str, bool, bool]:
        sign = self.text[self.at : self.at + 1]
        known = {**_KINDS, **_CONTROL, "b": r"\b"}.get(sign)
        if known is None:
            if sign not in _PUNCTUATION:
                raise self.refuse(f"the escape \\{sign}")
            known = re.escape(sign)
        self.at += 1
        return known, True, sign != "b"

    def quantifier(self) -> str:
        sign = self.text[self.at : self.at + 1]
        if sign and sign in "?*+":
            quantifier = sign
        elif counted := _COUNTED.match(self.text, self.at):
            low, _, high = counted.groups()
            if max(int(low), int(high or 0)) > _MOST_REPEATED or (high is not None and int(high) < int(low)):
                raise self.refuse(f"a count beyond {_MOST_REPEATED} or out of order")
            quantifier = counted.group()
        else:
            return ""
        self.quantifiers += 1
        if self.quantifiers > _MOST_QUANTIFIERS:
            raise self.refuse(f"more than {_MOST_QUANTIFIERS} repetitions")
        self.at += len(quantifier)
        if self.text[self.at : self.at + 1] in ("?", "*", "+", "{"):
            raise self.refuse("a repetition of a repetition")
        return quantifier

    def character_class(self) -> str:
        negated = self.text.startswith("[^", self.at)
        self.at += 2 if negated else 1
        parts: list[str] = []
        while not self.text.startswith("]", self.at):
            inside = bool(parts) and self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at)
            first, single = self.member()
            if inside:
                raise self.refuse("a bare - inside a class")
            if single and self.text.startswith("-", self.at) and not self.text.startswith("-]", self.at):
                self.at += 1
                last, whole = self.member()
                if not whole or first > last:
                    raise self.refuse("a range out of order")
                parts.append(f"{re.escape(first)}-{re.escape(last)}")
            else:
                parts.append(re.escape(first) if single else first)
        self.at += 1
        if not parts:
            raise self.refuse("an empty class")
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def member(self) -> tuple[str, bool]:
        """One member of a class: a character, or the inside of a named class."""
        if self.at >= len(self.text):
            raise self.refuse("an unclosed class")
        sign = self.text[self.at]
        self.at += 1
        if sign != "\\":
            if sign in "[^&~|":
                raise self.refuse(f"a bare {sign} in a class")
            return sign, True
        escaped = self.text[self.at : self.at + 1]
        if escaped in _IN_CLASS:
            self.at += 1
            return _IN_CLASS[escaped], False
        if escaped in _CONTROL:
            self.at += 1
            return {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}[escaped], True
        if escaped not in _PUNCTUATION:
            raise self.refuse(f"the escape \\{escaped} in a class")
        self.at += 1
        return escaped, True
