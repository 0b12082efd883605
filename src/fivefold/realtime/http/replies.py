"""Errors as answers: what class they are says what the client can do about them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fivefold.core.errors import Conflict, FivefoldError, Invalid, NotFound, Unavailable, Unsupported
from fivefold.core.identity import Forbidden, SlowDown, Unauthenticated
from fivefold.realtime.http.http1 import JSON
from fivefold.realtime.protocols.bounds import Expired, Limited, Overloaded, TooLarge

_STATUS = {
    Limited: 429,
    TooLarge: 413,
    Expired: 504,
    SlowDown: 429,
    Unauthenticated: 401,
    Forbidden: 403,
    Invalid: 400,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
    Unsupported: 501,
}
_CHALLENGES = (
    (b"www-authenticate", b'Bearer realm="fivefold"'),
    (b"www-authenticate", b'Basic realm="fivefold", charset="UTF-8"'),
)


class Reply(Exception):
    """An error answer: status, message, and how to mend it."""

    def __init__(
        self,
        status: int,
        message: str,
        hint: str = "",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        retry_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.hint, self.headers, self.retry_ms = status, message, hint, headers, retry_ms


def refusal(error: FivefoldError) -> Reply:
    """An error of ours as an answer: its class says what the client can do about it."""
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, Overloaded):
        # the header has whole seconds (RFC 9110), the body says it more exactly
        seconds = (b"retry-after", b"%d" % -(-error.retry_ms // 1000))
        return Reply(status, error.message, error.hint, (seconds,), error.retry_ms)
    if isinstance(error, SlowDown):
        return Reply(status, error.message, error.hint, ((b"retry-after", b"%d" % math.ceil(error.seconds)),))
    return Reply(status, error.message, error.hint, _CHALLENGES if isinstance(error, Unauthenticated) else ())


def require_json(headers: Mapping[bytes, bytes], *others: bytes) -> None:
    """Raise Reply for a content type that is neither JSON nor one of the others."""
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if kind not in (JSON, *others):
        raise Reply(415, f"the content type is {kind.decode('latin-1')!r}, not application/json.")
