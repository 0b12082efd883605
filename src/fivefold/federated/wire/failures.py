"""Errors on their way: what the server refuses comes out at the client as the same class of error."""

from __future__ import annotations

import msgspec

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Unavailable, Unsupported
from fivefold.core.identity import Unauthenticated
from fivefold.federated.refusals import Aborted, Refused

_KINDS: dict[str, type[FivefoldError]] = {
    "refused": Refused,
    "aborted": Aborted,
    "unauthenticated": Unauthenticated,
    "conflict": Conflict,
    "not-found": NotFound,
    "unavailable": Unavailable,
    "unsupported": Unsupported,
    "invalid": Invalid,
}


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An error as it travels."""

    kind: str
    message: str
    hint: str

    def error(self) -> FivefoldError:
        """The error itself."""
        return _KINDS.get(self.kind, Unavailable)(self.message, hint=self.hint)


def failure(error: Exception) -> Failure:
    """An error as it travels; what is a fault of ours says no more than that."""
    if not isinstance(error, FivefoldError):
        return Failure("unavailable", "something is wrong at the server.", "Look into its log, or try again.")
    kind = next(kind for kind, known in _KINDS.items() if isinstance(error, known))
    return Failure(kind, error.message, error.hint)
