"""Where a backend is: `files:./data`, `memory:`, `s3://bucket/prefix`."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import msgspec

from fivefold.core.errors import Invalid

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


class Url(msgspec.Struct, frozen=True):
    """A URL in its parts; user and password are not shown."""

    scheme: str
    host: str
    port: int | None
    path: str
    user: str
    password: str
    query: dict[str, str]

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __str__(self) -> str:
        place = f"//{self.host}{f':{self.port}' if self.port else ''}" if self.host else ""
        return f"{self.scheme}:{place}{self.path}"


def scheme_of(url: str) -> str:
    """The scheme of a URL, in lower case; raises Invalid when it has none."""
    found = _SCHEME.match(url)
    if not found:
        # the text itself is not shown: it may hold a password
        raise Invalid(
            "the place of a backend is written as a URL with a scheme.",
            hint="For instance files:./data or s3://bucket/prefix.",
        )
    return found[1].lower()


def parse(url: str) -> Url:
    """The parts of a URL; raises Invalid when it has no scheme, or cannot be read."""
    scheme = scheme_of(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as wrong:
        raise Invalid(f"the {scheme} URL cannot be read: {wrong}.") from None
    if parts.fragment:
        raise Invalid(f"the {scheme} URL holds a #, which has no meaning there.", hint="Name a place without one.")
    return Url(
        scheme,
        parts.hostname or "",
        port,
        parts.path,
        parts.username or "",
        parts.password or "",
        dict(parse_qsl(parts.query)),
    )
