"""Errors, classed by what the caller can do about them.

Every message says what happened and the value seen; `hint` says the next step.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FivefoldError(Exception):
    """What went wrong, in one sentence, and how to mend it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class Invalid(FivefoldError):
    """The input is wrong: mend it and call again."""


class NotFound(FivefoldError):
    """What was named does not exist."""

    @classmethod
    def named(cls, kind: str, name: str, have: Iterable[str]) -> NotFound:
        """The usual form: names the kind, the name asked for, what exists and the nearest of it."""
        known = sorted(have)
        listed = ", ".join(known[:12]) + (f", … ({len(known)} in all)" if len(known) > 12 else "")
        return cls(f"no {kind} {name!r} (have: {listed or 'none'}).", hint=did_you_mean(name, known))


class Conflict(FivefoldError):
    """Somebody else changed it first, or it exists already: read again and decide."""


class Unavailable(FivefoldError):
    """Something outside did not answer: try again later."""


class Unsupported(FivefoldError):
    """The request is sound but this backend, format or installation cannot serve it."""


class Several(Invalid):
    """Many independent mistakes, reported together so that they can be mended together."""

    def __init__(self, errors: Iterable[FivefoldError]) -> None:
        self.errors = tuple(errors)
        lines = "\n".join(f"  {i}. {e}" for i, e in enumerate(self.errors, 1))
        noun = "error" if len(self.errors) == 1 else "errors"
        super().__init__(f"{len(self.errors)} {noun}:\n{lines}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"Did you mean {close!r}?" if close else ""


def missing_extra(package: str, extra: str, what: str) -> Unsupported:
    """`what` needs an optional package: say the exact install command."""
    return Unsupported(
        f"{what} needs the package {package!r}, which is not installed.", hint=f"Run: pip install 'fivefold[{extra}]'"
    )
