"""Credentials to a principal. A good one is remembered for a few seconds, so that most requests cost one look-up."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import logging
import os
import threading
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from fivefold.access.backoff import Backoff
from fivefold.access.secret import MOST_PASSWORD, parsed_token, password_holds, token_digest, token_holds
from fivefold.catalog import Catalog
from fivefold.catalog.service_tokens import Held
from fivefold.core.errors import Unavailable
from fivefold.core.identity import Principal, SlowDown, Unauthenticated

FRESH_SECONDS = 5.0
"""How long a credential that was found good is not looked up again, and so how late a revocation may take effect."""

GRACE_SECONDS = 300.0
"""While the catalog does not answer, a credential that was found good holds so much longer."""

MOST_REMEMBERED = 4096
MOST_HEADER = 2 * MOST_PASSWORD
"""Bytes of an Authorization header that are looked at."""

MOST_CLAIMED = 64
"""Characters of a name that are logged."""

_logger = logging.getLogger("fivefold.access")
_NO_DIGEST = token_digest(b"")


class Credentials(NamedTuple):
    """What was sent to say who is asking: the Authorization header, the common name of a client certificate that was
    verified, and the address of the client. The header goes before the certificate."""

    authorization: bytes
    certificate: str
    peer: str


class _Remembered(NamedTuple):
    principal: Principal
    fresh: float
    grace: float
    stamp: str


class Authenticator:
    """Who is asking, by tokens, passwords and client certificates of a catalog. Safe to share between threads.

    After wrong credentials an address is slowed down, and so is a user; who was known before is not.
    """

    def __init__(self, catalog: Catalog, *, tick: Callable[[], float] = time.monotonic) -> None:
        self._users, self._tokens, self._clock = catalog.users, catalog.tokens, catalog.database.clock
        self._tick = tick
        # of this process alone, so that what is remembered is of no use to somebody who reads its memory later
        self._key = os.urandom(32)
        self._remembered: dict[bytes, _Remembered] = {}
        self._uses: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._peers = Backoff(free=10, most=60.0, tick=tick)
        # short, so that nobody is locked out for long by somebody who fails in their name
        self._named = Backoff(free=5, most=5.0, tick=tick)

    def digest(self, given: Credentials) -> bytes:
        """Under what credentials are remembered. A header never has the digest of a certificate."""
        if given.authorization:
            return hashlib.blake2b(given.authorization, key=self._key, digest_size=16, person=b"header").digest()
        return hashlib.blake2b(
            given.certificate.encode(errors="replace"), key=self._key, digest_size=16, person=b"certificate"
        ).digest()

    def fresh(self, digest: bytes) -> Principal | None:
        """Who has credentials that were found good a moment ago."""
        found = self._remembered.get(digest)
        return found.principal if found is not None and self._tick() < found.fresh else None

    def is_known(self, digest: bytes) -> bool:
        """Whether credentials were found good within the grace."""
        found = self._remembered.get(digest)
        return found is not None and self._tick() < found.grace

    def is_slow(self, given: Credentials, digest: bytes) -> bool:
        """Whether it takes a password to be hashed."""
        return given.authorization[:6].lower() == b"basic " and not self.is_known(digest)

    def verify(self, given: Credentials, digest: bytes) -> Principal:
        """Look credentials up; it may take a moment. Raises Unauthenticated, SlowDown after too many wrong ones, and
        Unavailable when the catalog does not answer and they were not known before."""
        before = self._remembered.get(digest) if self.is_known(digest) else None
        peer = _network(given.peer)
        if before is None:
            # behind one address there may be many: who is known is not slowed by others
            self._hold_up(self._peers.wait(peer))
        try:
            found = self._found(given, before)
        except Unavailable:
            prolonged = None if before is None else self.prolong(digest)
            if prolonged is None:
                raise
            return prolonged
        if found is None:
            with self._lock:
                self._remembered.pop(digest, None)
            self._peers.failed(peer)
            # there are few: an address is slowed down before it is asked who it is
            _logger.warning("refused %s from %s", _claimed(given), given.peer or "this machine")
            raise Unauthenticated("these credentials are not accepted.")
        self._remember(digest, found)
        return found.principal

    def prolong(self, digest: bytes) -> Principal | None:
        """Take credentials that were found good within the grace for good again, since the catalog does not answer."""
        now = self._tick()
        with self._lock:
            found = self._remembered.get(digest)
            if found is None or now >= found.grace:
                return None
            self._remembered[digest] = found._replace(fresh=min(now + FRESH_SECONDS, found.grace))
        return found.principal

    def write_uses(self) -> None:
        """Write down which tokens were used; what cannot be written is left out."""
        while self._uses:
            with suppress(KeyError, Unavailable):
                self._tokens.used(*self._uses.popitem())

    def _found(self, given: Credentials, before: _Remembered | None) -> _Remembered | None:
        if not given.authorization:
            return self._of_certificate(given.certificate)
        if len(given.authorization) > MOST_HEADER:
            return None
        scheme, _, value = given.authorization.partition(b" ")
        match scheme.lower():
            case b"bearer":
                return self._of_token(value.strip())
            case b"basic":
                return self._of_password(value.strip(), before)
        return None

    def _of_token(self, value: bytes) -> _Remembered | None:
        parsed = parsed_token(value)
        if parsed is None:
            return None
        id, secret = parsed
        held = self._tokens.find(id)
        if not token_holds(secret, _NO_DIGEST if held is None else held.digest) or held is None:
            return None
        # written later and elsewhere: a writer may have to wait, and nobody is to wait for that
        self._uses[id] = held
        left = GRACE_SECONDS if held.expires_at is None else max(0.0, (held.expires_at - self._clock()) / 1e6)
        return self._good(held.principal, held.digest, left)

    def _of_password(self, value: bytes, before: _Remembered | None) -> _Remembered | None:
        try:
            written = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        name, colon, password = written.partition(":")
        name = unicodedata.normalize("NFC", name)
        if not colon or "\x00" in name or len(name) > 64 or len(password.encode()) > MOST_PASSWORD:
            return None
        found = self._users.find(name)
        kept = None if found is None else found[1]
        if before is not None:
            # the digest says that it is the same password; if the hash is the same too, nothing has changed
            if found is None or kept is None or kept != before.stamp:
                return None
            return self._good(found[0], kept)
        self._hold_up(self._named.wait(name))
        if not password_holds(password, kept) or found is None or kept is None:
            self._named.failed(name)
            return None
        self._named.succeeded(name)
        return self._good(found[0], kept)

    def _of_certificate(self, name: str) -> _Remembered | None:
        if "\x00" in name:
            return None
        found = self._users.find(name)
        return None if found is None else self._good(found[0], "")

    def _good(self, principal: Principal, stamp: str, left: float = GRACE_SECONDS) -> _Remembered:
        now = self._tick()
        return _Remembered(principal, now + min(FRESH_SECONDS, left), now + min(GRACE_SECONDS, left), stamp)

    def _remember(self, digest: bytes, found: _Remembered) -> None:
        with self._lock:
            if digest not in self._remembered and len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.pop(next(iter(self._remembered)))
            self._remembered[digest] = found

    def _hold_up(self, seconds: float) -> None:
        if seconds > 0:
            raise SlowDown(
                "too many wrong credentials came from there, or in that name.",
                seconds,
                hint=f"Try again in {seconds:.0f} s.",
            )


def _claimed(given: Credentials) -> str:
    """Who somebody claims to be whose credentials are wrong, without anything that is secret."""
    if not given.authorization:
        return f"the certificate of {given.certificate[:MOST_CLAIMED]!r}"
    scheme, _, value = given.authorization[:MOST_HEADER].partition(b" ")
    if scheme.lower() == b"bearer":
        parsed = parsed_token(value.strip())
        return "what is no token" if parsed is None else f"the token {parsed[0]}"
    if scheme.lower() == b"basic":
        with suppress(binascii.Error, UnicodeDecodeError):
            name, colon, _ = base64.b64decode(value.strip(), validate=True).decode().partition(":")
            if colon:
                return f"the user {name[:MOST_CLAIMED]!r}"
    return "what are no credentials"


def _network(peer: str) -> str:
    """The address of a client; of IPv6 the network, since whoever has one has 2^64 addresses of it."""
    if ":" not in peer:
        return peer
    try:
        return str(ipaddress.ip_network(f"{peer.partition('%')[0]}/64", strict=False))
    except ValueError:
        return peer
