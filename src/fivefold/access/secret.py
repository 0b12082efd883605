"""Secrets: passwords hashed with scrypt (RFC 7914), and tokens `ff_ID_SECRET` of which only a digest is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from typing import NamedTuple

from fivefold.core.errors import Invalid

LEAST_PASSWORD = 12
"""Characters of a password."""

MOST_PASSWORD = 1024
"""Bytes of a password."""

# what OWASP's cheat sheet on password storage (2024) gives for 32 MiB; about 0.2 s of one core
_LOG_N, _R, _P = 15, 8, 3
_MEMORY = 64 << 20
_TOKEN = re.compile(rb"ff_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class NewToken(NamedTuple):
    """A token to be shown once, its public id, and the digest to be kept of its secret."""

    text: str
    id: str
    digest: str


def new_token() -> NewToken:
    """A token with 256 random bits: so many that a fast digest of them is as good as a slow one."""
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return NewToken(f"ff_{id}_{secret}", id, token_digest(secret.encode()))


def token_digest(secret: bytes) -> str:
    """What is kept of a token's secret."""
    return hashlib.sha256(secret).hexdigest()


def parsed_token(given: bytes) -> tuple[str, bytes] | None:
    """The id and the secret of a token; None for what cannot be one."""
    found = _TOKEN.fullmatch(given)
    return (found[1].decode("ascii"), found[2]) if found else None


def token_holds(secret: bytes, digest: str) -> bool:
    """Whether a secret is the one of a digest, in a time that does not say how much of it is right."""
    return hmac.compare_digest(token_digest(secret), digest)


def accepted_password(given: str, name: str) -> str:
    """A password that is long enough. Raises Invalid, without showing it."""
    if len(given) < LEAST_PASSWORD or len(given.encode(errors="replace")) > MOST_PASSWORD:
        raise Invalid(
            f"the password has {len(given)} characters "
            f"(accepted: {LEAST_PASSWORD} characters to {MOST_PASSWORD} bytes)."
        )
    if given.casefold() == name.casefold() or len(set(given)) < 4:
        raise Invalid("the password is the name of its user, or nearly one character alone.")
    return given


def password_hash(password: str) -> str:
    """What is kept of a password: `scrypt$log2 n$r$p$salt$hash`."""
    salt = os.urandom(16)
    made = _scrypt(password, salt, _LOG_N, _R, _P)
    return f"scrypt${_LOG_N}${_R}${_P}${_text(salt)}${_text(made)}"


def password_holds(password: str, kept: str | None) -> bool:
    """Whether a password is the one of a hash; it takes as long without one (of a user who is not there)."""
    fields = (kept or _NOBODYS).split("$")
    _, log_n, r, p, salt, made = fields
    found = _scrypt(password, base64.b64decode(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(made)) and kept is not None


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    # one password typed on two systems may come composed in two ways (RFC 8265, OpaqueString)
    written = unicodedata.normalize("NFC", password).encode(errors="surrogatepass")
    return hashlib.scrypt(written, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


_NOBODYS = f"scrypt${_LOG_N}${_R}${_P}${_text(bytes(16))}${_text(bytes(32))}"
