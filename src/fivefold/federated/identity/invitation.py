"""Invitations: what an operator hands to a site, once. A file; it never stands on a command line."""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec

from fivefold.core.errors import Invalid


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to enrol and under which name, the authority to trust there (PEM), and a secret that is good once."""

    client: str
    enrol: str
    server: str
    authority: str
    token: str

    def __repr__(self) -> str:
        return f"Invitation(client={self.client!r}, enrol={self.enrol!r}, token=...)"


def new_secret() -> tuple[str, str, str]:
    """A token `ffe_ID_SECRET` with 256 random bits, its id, and the digest that is kept of it."""
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return f"ffe_{id}_{secret}", id, secret_digest(secret)


def secret_digest(secret: str) -> str:
    """What is kept of a secret: with 256 random bits a fast digest is as good as a slow one."""
    return hashlib.sha256(secret.encode()).hexdigest()


def token_parts(token: str) -> tuple[str, str]:
    """The id of a token and the digest of its secret. Raises Invalid, without showing it."""
    prefix, _, rest = token.partition("_")
    id, _, secret = rest.partition("_")
    if prefix != "ffe" or len(id) != 12 or not 40 <= len(secret) <= 50:
        raise Invalid("this is not an enrolment token.", hint="Use the file that `fivefold federate invite` has made.")
    return id, secret_digest(secret)


def same(one: str, other: str) -> bool:
    """Whether two digests are the same, in a time that does not say how much of them is."""
    return hmac.compare_digest(one, other)


def read_invitation(data: bytes) -> Invitation:
    """An invitation as it was written. Raises Invalid, without showing the secret."""
    try:
        return msgspec.json.decode(data, type=Invitation)
    except msgspec.DecodeError:
        raise Invalid(
            "this is not an invitation.", hint="Give the file that `fivefold federate invite NAME` has made."
        ) from None
