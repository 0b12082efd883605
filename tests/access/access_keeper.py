"""An authenticator over every catalog, with clocks that the test holds, and cheap passwords."""

from __future__ import annotations

import base64

from fivefold.access import secret
from fivefold.access.authenticate import Authenticator, Credentials
from fivefold.catalog import Catalog, open_catalog
from fivefold.core.identity import Principal, Role

PASSWORD = "correct horse: båttery"


class Gatekeeper:
    """An authenticator, its catalog, and a clock of seconds for both."""

    def __init__(self, url: str) -> None:
        self.seconds = 1000.0
        self.catalog: Catalog = open_catalog(url, "shop", clock=lambda: int(self.seconds * 1e6))
        self.authenticator = Authenticator(self.catalog, tick=lambda: self.seconds)

    def token(self, name: str = "ci", role: Role | None = Role.VIEWER, holds: float | None = None) -> tuple[str, str]:
        """A new token and its id."""
        made = secret.new_token()
        end = None if holds is None else int((self.seconds + holds) * 1e6)
        self.catalog.tokens.add(made.id, name, made.digest, expires_at=end, actor="root")
        if role is not None:
            self.catalog.grants.grant(f"token:{name}", role, actor="root")
        return made.text, made.id

    def user(self, name: str = "ann", password: str | None = PASSWORD, role: Role = Role.VIEWER) -> None:
        hashed = None if password is None else secret.password_hash(password)
        self.catalog.users.add(name, hashed, actor="root")
        self.catalog.grants.grant(f"user:{name}", role, actor="root")

    def ask(self, header: str | bytes = b"", certificate: str = "", peer: str = "10.0.0.1") -> Principal:
        """As the door asks: from memory first."""
        raw = header if isinstance(header, bytes) else header.encode()
        given = Credentials(raw, certificate, peer)
        digest = self.authenticator.digest(given)
        return self.authenticator.fresh(digest) or self.authenticator.verify(given, digest)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
