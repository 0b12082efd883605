"""Who is asking, and what they may do: roles in a project, and the principal that reaches the code behind a front."""

from __future__ import annotations

import enum
import re
import unicodedata

import msgspec

from fivefold.core.errors import FivefoldError, Invalid, NotFound, Unavailable, did_you_mean


class Role(enum.StrEnum):
    """What somebody is in a project, the least first. Each includes those before it."""

    VIEWER = "viewer"
    """Sees what there is, and asks for predictions and features: nothing is changed by it."""
    EDITOR = "editor"
    """Declares, applies and trains."""
    OPERATOR = "operator"
    """Changes what is served, and what it is served from."""
    ADMIN = "admin"
    """Says who may do what."""


def up_to(role: Role) -> frozenset[Role]:
    """A role and those that it includes."""
    ladder = tuple(Role)
    return frozenset(ladder[: ladder.index(role) + 1])


def role(name: str) -> Role:
    """The role of a name. Raises NotFound, with those there are."""
    try:
        return Role(name)
    except ValueError:
        raise NotFound(
            f"no role {name!r} (have, the least first: {', '.join(Role)}).", hint=did_you_mean(name, Role)
        ) from None


class Principal(msgspec.Struct, frozen=True):
    """Who is asking: a `user`, a `token` (of a service), `local` (this machine, where nobody is asked), or `nobody`."""

    name: str
    kind: str
    roles: frozenset[Role] = frozenset()
    groups: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """As it stands in grants and in the audit log: `user:ann`."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


NOBODY = Principal("", "nobody")
LOCAL = Principal("", "local", frozenset(Role))


class Unauthenticated(FivefoldError):
    """It is not known who is asking: send credentials that hold."""


class Forbidden(FivefoldError):
    """Who is asking may not do this: ask an admin for the role that is named."""


class SlowDown(Unavailable):
    """Too many tries: come again after `seconds`."""

    def __init__(self, message: str, seconds: float, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds


_NAME = re.compile(r"\w[\w.@+-]{0,63}")


def identity_name(given: str, what: str) -> str:
    """The name of a user, token or group, in Unicode's composed form.

    Raises Invalid for one that is not 1 to 64 letters, digits and . _ @ + -, or that `user:ann` could not be told from.
    """
    made = unicodedata.normalize("NFC", given)
    if not _NAME.fullmatch(made):
        raise Invalid(
            f"{what}: {given[:80]!r} is not a name (accepted: 1 to 64 letters, digits and . _ @ + -, "
            "beginning with a letter or a digit).",
        )
    return made
